//! The tiny checkpoints in f16 and bf16, against the same weights in f32.

#[path = "../../../crates/nn/tests/support/half.rs"]
mod half;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use half::{cached, cast, compare, compare_logits, forward, logits};
use safevlm_core::DeviceSpec;
use safevlm_nn::{CausalLm, PatchGrid, Sequences};
use safevlm_qwen::{Qwen, QwenConfig, image_positions, key_rules};
use safevlm_weights::{Allow, FloatDtype, KeyMap, SafetensorsDir, load_module_as};

const NAMES: [&str; 3] = ["tiny-vl", "tiny-vl-flat", "tiny-text"];
const HALVES: [FloatDtype; 2] = [FloatDtype::F16, FloatDtype::BF16];
const IMAGE: u32 = 60;

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn load(name: &str, dtype: FloatDtype, device: &Device) -> Qwen {
    let config = std::fs::read_to_string(goldens(name).join("config.json")).unwrap();
    let config = QwenConfig::from_hf(&serde_json::from_str(&config).unwrap()).unwrap();
    let rules = key_rules("");
    let keys = KeyMap::new(&rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    let weights = SafetensorsDir::open(&goldens(name).join("model.safetensors")).unwrap();
    load_module_as(config.init(device), &weights, &keys, &Allow::nothing(), dtype).unwrap().0
}

/// Text, an image of 2 x 3 tokens, and text: far from one another on the three axes.
fn rows() -> Sequences {
    let ids = [&[3, 17, 40][..], &[IMAGE; 6], &[5, 9, 33, 21]].concat();
    let rows = Sequences::single(ids, Some(IMAGE));
    let positions = image_positions(&rows, &[PatchGrid::image(4, 6)], 2).unwrap();
    rows.with_positions(positions)
}

fn states(model: &Qwen, rows: &Sequences, device: &Device) -> Vec<Tensor<3>> {
    let (tokens, embeddings) = (rows.tokens(), model.embed(rows.ids(0, device)));
    model.hidden_states(embeddings, &rows.positions(0, tokens), &rows.mask(0, tokens, device))
}

#[test]
fn every_stage_follows_f32() {
    let flex = DeviceSpec::Flex.open().unwrap().0;
    for device in [flex.clone(), flex.autodiff()] {
        for name in NAMES {
            for dtype in HALVES {
                let (model, rows) = (load(name, dtype, &device), rows());
                let dtype = dtype.burn();
                let single = cast(model.clone(), DType::F32);
                let layers = model.layers.len();
                let pairs = states(&model, &rows, &device).into_iter().zip(states(&single, &rows, &device));
                for (nth, (ours, reference)) in pairs.enumerate() {
                    compare(&format!("{name} state {nth}"), ours, reference, dtype, nth);
                }
                let hidden = |model: &Qwen| forward(model, &rows, model.embed(rows.ids(0, &device)), 0, None);
                let (ours, reference) = (hidden(&model), hidden(&single));
                compare(&format!("{name} norm"), ours.clone(), reference.clone(), dtype, layers + 1);
                let (ours, reference) = (logits(&model, ours), logits(&single, reference));
                compare_logits(&format!("{name} logits"), ours, reference, dtype, layers + 1);
            }
        }
    }
}

#[test]
fn the_cache_changes_nothing() {
    let device = DeviceSpec::Flex.open().unwrap().0;
    for name in NAMES {
        for dtype in HALVES {
            let (model, rows) = (load(name, dtype, &device), rows());
            let embeddings = model.embed(rows.ids(0, &device));
            let whole = forward(&model, &rows, embeddings.clone(), 0, None);
            let in_chunks = cached(&model, &rows, embeddings, &[10, 1, 2]);
            compare(&format!("{name}, cached"), in_chunks, whole, dtype.burn(), 0);
        }
    }
}
