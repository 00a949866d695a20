//! Tiny random checkpoints written by transformers, stage by stage (xtask/goldens/llama_tiny.py).

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_llama::{Llama, LlamaConfig};
use safevlm_nn::{CausalLm, Padding, Sequences, sampler::argmax, vlm};
use safevlm_weights::{Allow, KeyMap, SafetensorsDir, TensorSource, load_module};
use serde_json::Value;

const NAMES: [&str; 3] = ["tiny-gqa-tied", "tiny-mha-untied", "tiny-llama3-rope"];

fn goldens(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn devices() -> Vec<Device> {
    let flex = DeviceSpec::Flex.open().unwrap().0;
    vec![flex.clone(), flex.autodiff()]
}

fn load(name: &str, device: &Device) -> Llama {
    let dir = goldens(name);
    let config: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap();
    let config = LlamaConfig::from_hf(&config).unwrap();
    let weights = SafetensorsDir::open(&dir).unwrap();
    let keys = KeyMap::new(&[(r"^model\.", "")]);
    load_module(config.init(device), &weights, &keys, &Allow::nothing()).unwrap().0
}

fn ids(stages: &dyn TensorSource) -> Vec<Vec<u32>> {
    let width = stages.info("input_ids").unwrap().shape[1];
    let flat = stages.read_f32("input_ids").unwrap();
    flat.chunks(width).map(|row| row.iter().map(|id| *id as u32).collect()).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Largest difference, as a share of the largest reference value.
fn compare(stage: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{stage}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= 1e-4 * scale, "{stage} is the first stage that differs: by {worst} of {scale}");
}

#[test]
fn every_stage_equals_the_reference() {
    for device in devices() {
        for name in NAMES {
            let model = load(name, &device);
            let stages = SafetensorsDir::open(&goldens(name).join("stages.safetensors")).unwrap();
            let rows = Sequences::new(ids(&stages), None, 0, Padding::Right);
            let embeddings = model.embed(rows.ids(0, &device));
            let tokens = rows.tokens();
            let (positions, mask) = (rows.positions(0, tokens), rows.mask(0, tokens, &device));
            for (nth, state) in model.hidden_states(embeddings, &positions, &mask).into_iter().enumerate() {
                let stage = if nth == 0 { "embeddings".to_owned() } else { format!("layers.{}", nth - 1) };
                compare(&format!("{name} {stage}"), &values(state), &stages.read_f32(&stage).unwrap());
            }
            let hidden = vlm::run(&model, model.embed(rows.ids(0, &device)), &rows, 0, None, &device);
            compare(&format!("{name} norm"), &values(hidden.clone()), &stages.read_f32("norm").unwrap());
            let [batch, tokens, width] = hidden.dims();
            let logits = model.logits(hidden.reshape([batch * tokens, width]));
            compare(&format!("{name} logits"), &values(logits), &stages.read_f32("logits").unwrap());
        }
    }
}

/// Logits of the last token of each row.
fn last_logits(model: &Llama, rows: &Sequences, device: &Device) -> Vec<f32> {
    let hidden = vlm::run(model, model.embed(rows.ids(0, device)), rows, 0, None, device);
    let [batch, tokens, width] = hidden.dims();
    values(model.logits(hidden.narrow(1, tokens - 1, 1).reshape([batch, width])))
}

#[test]
fn greedy_tokens_equal_the_reference_with_and_without_the_cache() {
    let device = DeviceSpec::Flex.open().unwrap().0;
    for name in NAMES {
        let model = load(name, &device);
        let text = std::fs::read_to_string(goldens(name).join("greedy.json")).unwrap();
        for case in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            let tokens = |key: &str| -> Vec<u32> { serde_json::from_value(case[key].clone()).unwrap() };
            let (prompt, expected) = (tokens("prompt"), tokens("greedy_ids"));
            for cached in [false, true] {
                let mut rows = Sequences::single(prompt.clone(), None);
                let mut cache = model.new_cache(1, prompt.len() + expected.len(), &device);
                let mut start = 0;
                let mut generated = vec![];
                for _ in 0..expected.len() {
                    let next = if cached {
                        let part = model.embed(rows.ids(start, &device));
                        let hidden = vlm::run(&model, part, &rows, start, Some(&mut cache), &device);
                        start = rows.tokens();
                        let [_, tokens, width] = hidden.dims();
                        argmax(&values(model.logits(hidden.narrow(1, tokens - 1, 1).reshape([1, width]))))
                    } else {
                        argmax(&last_logits(&model, &rows, &device))
                    };
                    generated.push(next);
                    rows.push(&[next]);
                }
                assert_eq!(generated, expected, "{name}, cached: {cached}");
            }
        }
    }
}

#[test]
fn padding_chunks_and_batches_change_nothing() {
    let device = DeviceSpec::Flex.open().unwrap().0;
    for name in NAMES {
        let model = load(name, &device);
        let stages = SafetensorsDir::open(&goldens(name).join("stages.safetensors")).unwrap();
        let [long, short] = <[Vec<u32>; 2]>::try_from(ids(&stages)).unwrap();
        let short = short[7..].to_vec();
        let alone = [&long, &short].map(|row| last_logits(&model, &Sequences::single(row.clone(), None), &device));
        let both = Sequences::new(vec![long.clone(), short.clone()], None, 0, Padding::Left);
        compare(&format!("{name} batch, left padding"), &last_logits(&model, &both, &device), &alone.concat());
        let padded = stages.read_f32("padded.logits").unwrap();
        compare(&format!("{name} reference's padding"), &alone[1], &padded[padded.len() - alone[1].len()..]);

        let whole = Sequences::single(long.clone(), None);
        let embeddings = model.embed(whole.ids(0, &device));
        let mut cache = model.new_cache(1, long.len(), &device);
        let (mut start, mut last) = (0, vec![]);
        for chunk in [5, 1, 11, long.len() - 17] {
            let part = embeddings.clone().narrow(1, start, chunk);
            let hidden = vlm::run(&model, part, &whole, start, Some(&mut cache), &device);
            let [_, tokens, width] = hidden.dims();
            last = values(model.logits(hidden.narrow(1, tokens - 1, 1).reshape([1, width])));
            start += chunk;
        }
        compare(&format!("{name} chunked prefill"), &last, &alone[0]);
    }
}

#[test]
fn a_future_token_never_changes_a_past_logit() {
    let device = DeviceSpec::Flex.open().unwrap().0;
    for name in NAMES {
        let model = load(name, &device);
        let logits = |row: &[u32]| {
            let rows = Sequences::single(row.to_vec(), None);
            let hidden = vlm::run(&model, model.embed(rows.ids(0, &device)), &rows, 0, None, &device);
            let [_, tokens, width] = hidden.dims();
            model.logits(hidden.reshape([tokens, width])).into_data().try_into_vec::<f32>().unwrap()
        };
        let row: Vec<u32> = (0..20).map(|n| (n * 7 + 3) % 60).collect();
        let mut changed = row.clone();
        changed[12] = 61;
        let vocab = 64;
        let (a, b) = (logits(&row), logits(&changed));
        assert_eq!(a[..12 * vocab], b[..12 * vocab], "{name}: a past logit changed");
        assert_ne!(a[12 * vocab..], b[12 * vocab..], "{name}: the changed token has no effect");
    }
}

#[test]
fn gradients_reach_every_parameter() {
    let device = DeviceSpec::Flex.open().unwrap().0.autodiff();
    for name in NAMES {
        let model = load(name, &device);
        let rows = Sequences::single((0..20).collect(), None);
        let hidden = vlm::run(&model, model.embed(rows.ids(0, &device)), &rows, 0, None, &device);
        let [_, tokens, width] = hidden.dims();
        let target = Tensor::<2>::from_data(TensorData::new(vec![0.5f32; tokens * 64], [tokens, 64]), &device);
        let loss = (model.logits(hidden.reshape([tokens, width])) * target).square().sum();
        let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &model);
        assert_eq!(gradients.len(), parameters(&model), "{name}: a parameter has no gradient");
    }
}

fn parameters(model: &Llama) -> usize {
    safevlm_weights::collect_module(model).unwrap().names().len()
}
