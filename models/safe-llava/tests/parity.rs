//! A tiny random SafeLLaVA by transformers, from pictures to greedy tokens (xtask/goldens/safe_llava.py).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use safevlm_core::{Conversation, DeviceSpec, ImageLimits, RgbImage, load_image};
use safevlm_nn::{CausalLm, Padding, Sequences, VisionEncoder, VlmOutput, vlm};
use safevlm_safe_llava::{IGNORED, Processor, SafeLlava, SafeLlavaConfig, key_map};
use safevlm_weights::{Allow, SafetensorsDir, TensorSource, load_module};
use serde_json::Value;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn devices() -> [Device; 2] {
    let flex = DeviceSpec::Flex.open().unwrap().0;
    [flex.clone(), flex.autodiff()]
}

fn json(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(goldens().join(path)).unwrap()).unwrap()
}

fn config(folder: &str) -> SafeLlavaConfig {
    SafeLlavaConfig::from_hf(&json(&format!("{folder}/config.json"))).unwrap()
}

fn load(folder: &str, device: &Device) -> SafeLlava {
    let weights = SafetensorsDir::open(&goldens().join(folder)).unwrap();
    let allow = IGNORED.iter().fold(Allow::nothing(), |allow, pattern| allow.unused(pattern));
    let (mut model, report) = load_module(config(folder).init(device), &weights, &key_map(), &allow).unwrap();
    assert!(report.missing.is_empty() && report.unused.is_empty(), "{report}");
    // Dropout is active on an autodiff device unless it is frozen.
    model.guard = model.guard.map(Module::freeze);
    model
}

/// One conversation of the golden file.
struct Case {
    nth: usize,
    conversation: Conversation,
    ids: Vec<u32>,
    greedy: Vec<u32>,
}

fn cases() -> Vec<Case> {
    let pictures: Vec<Arc<RgbImage>> = (0..3)
        .map(|n| load_image(goldens().join(format!("picture-{n}.png")), &ImageLimits::default()).unwrap())
        .map(Arc::new)
        .collect();
    let ids = |value: &Value| value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let case = |(nth, case): (usize, &Value)| {
        let mut conversation = Conversation::new();
        for turn in case["turns"].as_array().unwrap() {
            let (count, text) = (turn[1].as_u64().unwrap() as usize, turn[2].as_str().unwrap());
            let shown = conversation.images.len();
            conversation = match turn[0].as_str().unwrap() {
                "system" => conversation.system(text),
                "user" => conversation.user(text, pictures[shown..shown + count].iter().cloned()),
                _ => conversation.assistant(text),
            };
        }
        Case { nth, conversation, ids: ids(&case["input_ids"]), greedy: ids(&case["greedy_ids"]) }
    };
    json("cases.json").as_array().unwrap().iter().enumerate().map(case).collect()
}

fn processor() -> Processor {
    Processor::from_dir(&goldens().join("tiny"), &config("tiny"), &json("tiny/config.json")).unwrap()
}

fn pixels(case: &Case, device: &Device) -> Option<Tensor<4>> {
    let images: Vec<&RgbImage> = case.conversation.images.iter().map(AsRef::as_ref).collect();
    (!images.is_empty()).then(|| processor().pixels(&images, device).unwrap())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Asserts that the largest difference is at most 1e-5 of the largest reference value; both sides
/// compute in f32.
#[track_caller]
fn assert_close(what: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{what}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |most, v| most.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= 1e-5 * scale, "{what} is the first stage that differs: by {worst} of {scale}");
}

fn prefill(model: &SafeLlava, ids: &[u32], pixels: Option<Tensor<4>>, device: &Device) -> VlmOutput {
    let sequences = Sequences::single(ids.to_vec(), config("tiny").image_token);
    let visual = pixels.map(|pixels| model.visual_tokens(pixels));
    model.forward(&sequences, visual, None, device).unwrap()
}

fn last_logits(model: &SafeLlava, hidden: Tensor<3>) -> Vec<f32> {
    let [_, tokens, width] = hidden.dims();
    values(model.language_model.logits(hidden.narrow(1, tokens - 1, 1).reshape([1, width])))
}

#[test]
fn every_stage_equals_the_reference() {
    let stages = SafetensorsDir::open(&goldens().join("stages.safetensors")).unwrap();
    for device in devices() {
        for folder in ["tiny", "original"] {
            let model = load(folder, &device);
            for case in cases() {
                let check = |stage: &str, ours: Vec<f32>| {
                    let reference = stages.read_f32(&format!("{}.{stage}", case.nth)).unwrap();
                    assert_close(&format!("{stage} of case {} of {folder}", case.nth), &ours, &reference);
                };
                let pixels = pixels(&case, &device);
                if let Some(pixels) = &pixels {
                    check("pixels", values(pixels.clone()));
                    check("features", values(model.vision.encode(pixels.clone())));
                    check("visual_tokens", values(model.visual_tokens(pixels.clone())));
                }
                let output = prefill(&model, &case.ids, pixels, &device);
                check("hidden", values(output.hidden.clone()));
                assert_eq!(output.guard.is_some(), case.conversation.has_images());
                if let Some(guard) = output.guard {
                    check("guard", values(guard));
                }
                check("logits", last_logits(&model, output.hidden));
            }
        }
    }
}

#[test]
fn prompts_equal_the_processors() {
    for case in cases() {
        assert_eq!(processor().prompt(&case.conversation).unwrap(), case.ids, "case {}", case.nth);
    }
}

#[test]
fn greedy_tokens_equal_the_reference_with_a_cache() {
    let [device, _] = devices();
    let model = load("tiny", &device);
    for case in cases() {
        let mut sequences = Sequences::single(case.ids.clone(), config("tiny").image_token);
        let visual = pixels(&case, &device).map(|pixels| model.visual_tokens(pixels));
        let mut cache = model.language_model.new_cache(1, case.ids.len() + case.greedy.len(), &device);
        let mut hidden = model.forward(&sequences, visual, Some(&mut cache), &device).unwrap().hidden;
        let mut tokens = Vec::new();
        while tokens.len() < case.greedy.len() {
            let next = safevlm_nn::sampler::argmax(&last_logits(&model, hidden)) as u32;
            tokens.push(next);
            sequences.push(&[next]);
            let start = sequences.tokens() - 1;
            let embeddings = model.language_model.embed(sequences.ids(start, &device));
            hidden = vlm::run(&model.language_model, embeddings, &sequences, start, Some(&mut cache), &device);
        }
        assert_eq!(tokens, case.greedy, "case {}", case.nth);
    }
}

#[test]
fn batched_is_single() {
    let [device, _] = devices();
    let model = load("tiny", &device);
    let cases = cases();
    let [one, two] = [&cases[0], &cases[2]];
    let rows = vec![one.ids.clone(), two.ids.clone()];
    let sequences = Sequences::new(rows, config("tiny").image_token, 0, Padding::Left);
    let both = Tensor::cat(vec![pixels(one, &device).unwrap(), pixels(two, &device).unwrap()], 0);
    let output = model.forward(&sequences, Some(model.visual_tokens(both)), None, &device).unwrap();
    let guards = values(output.guard.unwrap());
    for (row, case) in [one, two].into_iter().enumerate() {
        let alone = prefill(&model, &case.ids, pixels(case, &device), &device);
        assert_close("guard of a padded batch", &guards[row * 20..][..20], &values(alone.guard.unwrap()));
        let hidden = output.hidden.clone().narrow(0, row, 1);
        assert_close("logits of a padded batch", &last_logits(&model, hidden), &last_logits(&model, alone.hidden));
    }
}
