//! The tiny checkpoints in f16 and bf16, against the same weights in f32 and transformers' bf16
//! (xtask/goldens/half.py).

#[path = "../../../crates/nn/tests/support/half.rs"]
mod half;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{cast, compare};
use safevlm_clip::{ClipVision, ClipVisionConfig, PREFIXES, key_rules};
use safevlm_core::DeviceSpec;
use safevlm_nn::VisionEncoder;
use safevlm_weights::{Allow, FloatDtype, KeyMap, SafetensorsDir, TensorSource, load_module_as};

const NAMES: [&str; 2] = ["tiny-quick", "tiny-gelu"];

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn load(name: &str, dtype: FloatDtype, device: &Device) -> ClipVision {
    let config = std::fs::read_to_string(goldens(name).join("config.json")).unwrap();
    let config = ClipVisionConfig::from_hf(&serde_json::from_str(&config).unwrap()).unwrap();
    let rules: Vec<_> = PREFIXES.iter().flat_map(|from| key_rules(from, "")).collect();
    let keys = KeyMap::new(&rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    let weights = SafetensorsDir::open(&goldens(name).join("model.safetensors")).unwrap();
    load_module_as(config.init(device), &weights, &keys, &Allow::nothing(), dtype).unwrap().0
}

fn golden<const D: usize>(name: &str, file: &str, stage: &str, device: &Device) -> Tensor<D> {
    let stages = SafetensorsDir::open(&goldens(name).join(file)).unwrap();
    let shape = stages.info(stage).unwrap().shape;
    Tensor::from_data(TensorData::new(stages.read_f32(stage).unwrap(), shape), device)
}

#[test]
fn every_stage_follows_f32() {
    let flex = DeviceSpec::Flex.open().unwrap().0;
    for device in [flex.clone(), flex.autodiff()] {
        for name in NAMES {
            for dtype in [FloatDtype::F16, FloatDtype::BF16] {
                let model = load(name, dtype, &device);
                let dtype = dtype.burn();
                let single = cast(model.clone(), DType::F32);
                let pixels: Tensor<4> = golden(name, "stages.safetensors", "pixels", &device);
                let states = |model: &ClipVision| model.hidden_states(pixels.clone()).into_iter();
                for (nth, (ours, reference)) in states(&model).zip(states(&single)).enumerate() {
                    compare(&format!("{name} state {nth}"), ours, reference, dtype, nth);
                }
                let layers = model.layers.len() + 1;
                let (ours, reference) = (model.encode(pixels.clone()), single.encode(pixels.clone()));
                compare(&format!("{name} features"), ours, reference, dtype, layers);
                let (ours, reference) = (model.pooled(pixels.clone()), single.pooled(pixels));
                compare(&format!("{name} pooled"), ours, reference, dtype, layers);
            }
        }
    }
}

#[test]
fn every_stage_follows_the_references_bf16() {
    let (name, device) = (NAMES[0], DeviceSpec::Flex.open().unwrap().0);
    let model = load(name, FloatDtype::BF16, &device);
    let pixels: Tensor<4> = golden(name, "stages.safetensors", "pixels", &device);
    for (nth, state) in model.hidden_states(pixels.clone()).into_iter().enumerate() {
        let stage = if nth == 0 { "pre_layrnorm".to_owned() } else { format!("layers.{}", nth - 1) };
        compare(&stage, state, golden(name, "half.safetensors", &stage, &device), DType::BF16, nth);
    }
    let reference = golden(name, "half.safetensors", "pooled", &device);
    compare("pooled", model.pooled(pixels), reference, DType::BF16, 4);
}
