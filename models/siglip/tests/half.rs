//! The tiny checkpoints in f16 and bf16, against the same weights in f32.

#[path = "../../../crates/nn/tests/support/half.rs"]
mod half;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{cast, compare};
use safevlm_core::DeviceSpec;
use safevlm_nn::VisionEncoder;
use safevlm_siglip::{IGNORED, PREFIXES, SiglipVision, SiglipVisionConfig, key_rules};
use safevlm_weights::{Allow, FloatDtype, KeyMap, SafetensorsDir, TensorSource, load_module_as};

const NAMES: [&str; 2] = ["tiny-gemma3", "tiny-head"];

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn load(name: &str, dtype: FloatDtype, device: &Device) -> SiglipVision {
    let config = std::fs::read_to_string(goldens(name).join("config.json")).unwrap();
    let config = SiglipVisionConfig::from_hf(&serde_json::from_str(&config).unwrap()).unwrap();
    let rules: Vec<_> = PREFIXES.iter().flat_map(|from| key_rules(from, "")).collect();
    let keys = KeyMap::new(&rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    let weights = SafetensorsDir::open(&goldens(name).join("model.safetensors")).unwrap();
    load_module_as(config.init(device), &weights, &keys, &Allow::nothing().unused(IGNORED), dtype).unwrap().0
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
                let states = |model: &SiglipVision| model.hidden_states(pixels.clone()).into_iter();
                for (nth, (ours, reference)) in states(&model).zip(states(&single)).enumerate() {
                    compare(&format!("{name} state {nth}"), ours, reference, dtype, nth);
                }
                let layers = model.layers.len() + 1;
                let (ours, reference) = (model.encode(pixels.clone()), single.encode(pixels));
                compare(&format!("{name} features"), ours, reference, dtype, layers);
            }
        }
    }
}
