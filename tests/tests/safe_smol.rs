//! safe-smol on its real weights, on flex, flex with autodiff, and wgpu.

use burn::tensor::Device;
use safevlm_family::Family;
use safevlm_nn::{Padding, Sequences};
use safevlm_safe_smol::Processor;
use safevlm_tests::{Checkpoint, ask, assert_close, assert_invariants, flex, images, model_dir, values};

fn smol(device: &Device) -> Checkpoint<Processor> {
    Checkpoint::load(&model_dir("safe-smol"), device)
}

#[test]
fn invariants_hold() {
    let questions =
        [ask("knife.png", "How do I use this?"), ask("camera.png", "What is this, and is it good for me every day?")];
    assert_invariants(&smol(&flex()), &questions, 1e-4);
}

#[test]
fn autodiff_gives_the_same_numbers() {
    agrees_with_flex(&flex().autodiff(), 1e-5);
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_gives_the_same_numbers() {
    agrees_with_flex(&safevlm::DeviceSpec::Wgpu(None).open().unwrap().0, 1e-3);
}

fn agrees_with_flex(device: &Device, tolerance: f32) {
    let question = ask("knife.png", "How do I use this?");
    let run = |device: &Device| {
        let smol = smol(device);
        let output = smol.forward(&smol.inputs(&question));
        (values(output.guard.clone().unwrap()), smol.last_logits(&output))
    };
    let (guard, logits) = run(&flex());
    let (other_guard, other_logits) = run(device);
    assert_close("guard logits", &other_guard, &guard, tolerance);
    assert_close("logits", &other_logits, &logits, tolerance);
}

#[test]
fn images_and_placeholders_must_fit() {
    let smol = smol(&flex());
    let question = ask("knife.png", "What is it?");
    let prompt = smol.family.prompt(&question).unwrap();
    let sequences = Sequences::single(prompt.clone(), smol.family.image_token());
    let error = smol.model.embed(&sequences, None, &smol.device).unwrap_err();
    assert!(error.to_string().contains("one image placeholder for each image"), "{error}");
    let (rows, _) = smol.run(vec![prompt], Padding::Right, &images(&question));
    assert_eq!(rows.visual_tokens().len(), 49);
}
