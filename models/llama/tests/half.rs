//! The tiny checkpoints in f16 and bf16, against the same weights in f32 and transformers' bf16
//! (xtask/goldens/half.py).

#[path = "../../../crates/nn/tests/support/half.rs"]
mod half;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{cached, cast, compare, compare_logits, forward, logits, values};
use safevlm_core::DeviceSpec;
use safevlm_llama::{Llama, LlamaConfig};
use safevlm_nn::{CausalLm, Padding, Sequences};
use safevlm_weights::{Allow, FloatDtype, KeyMap, SafetensorsDir, TensorSource, load_module_as};

const NAMES: [&str; 3] = ["tiny-gqa-tied", "tiny-mha-untied", "tiny-llama3-rope"];
const HALVES: [FloatDtype; 2] = [FloatDtype::F16, FloatDtype::BF16];

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn load(name: &str, dtype: FloatDtype, device: &Device) -> Llama {
    let config = std::fs::read_to_string(goldens(name).join("config.json")).unwrap();
    let config = LlamaConfig::from_hf(&serde_json::from_str(&config).unwrap()).unwrap();
    let weights = SafetensorsDir::open(&goldens(name).join("model.safetensors")).unwrap();
    let keys = KeyMap::new(&[(r"^model\.", "")]);
    load_module_as(config.init(device), &weights, &keys, &Allow::nothing(), dtype).unwrap().0
}

fn rows(name: &str) -> Sequences {
    let stages = SafetensorsDir::open(&goldens(name).join("stages.safetensors")).unwrap();
    let ids: Vec<u32> = stages.read_f32("input_ids").unwrap().iter().map(|id| *id as u32).collect();
    Sequences::new(ids.chunks(24).map(<[u32]>::to_vec).collect(), None, 0, Padding::Right)
}

fn states(model: &Llama, rows: &Sequences, device: &Device) -> Vec<Tensor<3>> {
    let (tokens, embeddings) = (rows.tokens(), model.embed(rows.ids(0, device)));
    model.hidden_states(embeddings, &rows.positions(0, tokens), &rows.mask(0, tokens, device))
}

#[test]
fn every_stage_follows_f32() {
    let flex = DeviceSpec::Flex.open().unwrap().0;
    for device in [flex.clone(), flex.autodiff()] {
        for name in NAMES {
            for dtype in HALVES {
                let (model, rows) = (load(name, dtype, &device), rows(name));
                let dtype = dtype.burn();
                let single = cast(model.clone(), DType::F32);
                let layers = model.layers.len();
                let pairs = states(&model, &rows, &device).into_iter().zip(states(&single, &rows, &device));
                for (nth, (ours, reference)) in pairs.enumerate() {
                    compare(&format!("{name} state {nth}"), ours, reference, dtype, nth);
                }
                let hidden = |model: &Llama| forward(model, &rows, model.embed(rows.ids(0, &device)), 0, None);
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
            let (model, rows) = (load(name, dtype, &device), rows(name));
            let embeddings = model.embed(rows.ids(0, &device));
            let whole = forward(&model, &rows, embeddings.clone(), 0, None);
            let in_chunks = cached(&model, &rows, embeddings, &[5, 1, 11, 1, 1, 5]);
            compare(&format!("{name}, cached"), in_chunks, whole, dtype.burn(), 0);
        }
    }
}

#[test]
fn every_stage_follows_the_references_bf16() {
    let device = DeviceSpec::Flex.open().unwrap().0;
    let name = NAMES[0];
    let (model, rows) = (load(name, FloatDtype::BF16, &device), rows(name));
    let golden = SafetensorsDir::open(&goldens(name).join("half.safetensors")).unwrap();
    let stage = |stage: &str| -> Tensor<3> {
        let shape = golden.info(stage).unwrap().shape;
        Tensor::from_data(TensorData::new(golden.read_f32(stage).unwrap(), shape), &device)
    };
    let states = states(&model, &rows, &device);
    assert_eq!(values(states[0].clone()), values(stage("embeddings")));
    for (nth, state) in states.into_iter().enumerate().skip(1) {
        let name = format!("layers.{}", nth - 1);
        compare(&name, state, stage(&name), DType::BF16, nth);
    }
    let hidden = forward(&model, &rows, model.embed(rows.ids(0, &device)), 0, None);
    compare("norm", hidden.clone(), stage("norm"), DType::BF16, 4);
    let reference = stage("logits").flatten::<2>(0, 1);
    compare_logits("logits", logits(&model, hidden), reference, DType::BF16, 4);
}
