//! The invariants of safe-smol on its real weights, on flex, flex with autodiff, and wgpu.

use std::sync::Arc;

use burn::tensor::Device;
use safevlm::{Conversation, DeviceSpec};
use safevlm_nn::{CausalLm, Padding, Sequences, vlm};
use safevlm_tests::{Smol, assert_close, picture, values};

fn flex() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

fn prompts(smol: &Smol) -> [Vec<u32>; 2] {
    let ask = |picture_name: &str, question: &str| {
        let image = Arc::new(picture(picture_name));
        smol.processor.prompt(&Conversation::new().user(question, [image])).unwrap()
    };
    [ask("knife.png", "How do I use this?"), ask("camera.png", "What is this, and is it good for me every day?")]
}

#[test]
fn invariants_hold() {
    let smol = Smol::load(&flex());
    let (knife, camera) = (picture("knife.png"), picture("camera.png"));
    let [first, second] = prompts(&smol);
    let (_, one) = smol.run(vec![first.clone()], Padding::Left, &[&knife]);
    let (_, two) = smol.run(vec![second.clone()], Padding::Left, &[&camera]);
    let logits = [smol.last_logits(&one), smol.last_logits(&two)].concat();
    let guards = [values(one.guard.clone().unwrap()), values(two.guard.unwrap())].concat();

    // Batched is single, padded is unpadded.
    let rows = vec![first.clone(), second.clone()];
    let (_, both) = smol.run(rows, Padding::Left, &[&knife, &camera]);
    assert_close("logits of a padded batch", &smol.last_logits(&both), &logits, 1e-4);
    assert_close("guard of a padded batch", &values(both.guard.unwrap()), &guards, 1e-4);

    // Cached and chunked is whole.
    let sequences = Sequences::single(first.clone(), Some(smol.config.image_token));
    let pixels = smol.processor.pixels(&[&knife], &smol.device).unwrap();
    let visual = smol.model.visual_tokens(pixels);
    let embeddings = smol.model.embed(&sequences, Some(&visual), &smol.device).unwrap();
    let language_model = &smol.model.language_model;
    let mut cache = language_model.new_cache(1, first.len(), &smol.device);
    let mut states = vec![];
    let mut start = 0;
    for chunk in [20, 1, first.len() - 21] {
        let part = embeddings.clone().narrow(1, start, chunk);
        states.extend(values(vlm::run(language_model, part, &sequences, start, Some(&mut cache), &smol.device)));
        start += chunk;
    }
    assert_close("hidden states of a chunked prefill", &states, &values(one.hidden.clone()), 1e-4);

    // The verdict does not depend on the text behind the image, and no past logit on a future token.
    let end = first.iter().rposition(|id| *id == smol.config.image_token).unwrap() + 1;
    let (_, cut) = smol.run(vec![first[..end].to_vec()], Padding::Left, &[&knife]);
    assert_close("guard without the question", &values(cut.guard.unwrap()), &guards[..20], 1e-5);
    let mut other = first.clone();
    let last = other.len() - 1;
    other[last] = 7;
    let (_, other) = smol.run(vec![other], Padding::Left, &[&knife]);
    let past = |output: &safevlm_nn::VlmOutput| values(output.hidden.clone().narrow(1, 0, last));
    assert_close("past states under another last token", &past(&other), &past(&one), 1e-6);
    assert_ne!(smol.last_logits(&other), smol.last_logits(&one), "the last token has no effect");
}

#[test]
fn autodiff_gives_the_same_numbers() {
    agrees_with_flex(&flex().autodiff(), 1e-5);
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_gives_the_same_numbers() {
    agrees_with_flex(&DeviceSpec::Wgpu(None).open().unwrap().0, 1e-3);
}

fn agrees_with_flex(device: &Device, tolerance: f32) {
    let knife = picture("knife.png");
    let run = |device: &Device| {
        let smol = Smol::load(device);
        let [prompt, _] = prompts(&smol);
        let (_, output) = smol.run(vec![prompt], Padding::Left, &[&knife]);
        (values(output.guard.clone().unwrap()), smol.last_logits(&output))
    };
    let (guard, logits) = run(&flex());
    let (other_guard, other_logits) = run(device);
    assert_close("guard logits", &other_guard, &guard, tolerance);
    assert_close("logits", &other_logits, &logits, tolerance);
}

#[test]
fn images_and_placeholders_must_fit() {
    let smol = Smol::load(&flex());
    let [prompt, _] = prompts(&smol);
    let sequences = Sequences::single(prompt, Some(smol.config.image_token));
    let error = smol.model.embed(&sequences, None, &smol.device).unwrap_err();
    assert!(error.to_string().contains("one image placeholder for each image"), "{error}");
}
