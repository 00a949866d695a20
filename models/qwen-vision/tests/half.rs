//! The tiny encoders in f16 and bf16, against the same weights in f32 and transformers' bf16
//! (xtask/goldens/half.py).

#[path = "../../../crates/nn/tests/support/half.rs"]
mod half;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{cast, compare};
use safevlm_core::DeviceSpec;
use safevlm_nn::PatchGrid;
use safevlm_qwen_vision::{QwenVision, QwenVisionConfig, key_rules};
use safevlm_weights::{Allow, FloatDtype, KeyMap, SafetensorsDir, TensorSource, load_module_as};
use serde_json::Value;

const NAMES: [&str; 2] = ["tiny", "tiny-clip"];

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn load(name: &str, dtype: FloatDtype, device: &Device) -> QwenVision {
    let config = std::fs::read_to_string(goldens(name).join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let config = QwenVisionConfig::from_hf(&config["vision_config"]).unwrap();
    let rules = key_rules("");
    let keys = KeyMap::new(&rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    let weights = SafetensorsDir::open(&goldens(name).join("model.safetensors")).unwrap();
    load_module_as(config.init(device), &weights, &keys, &Allow::nothing(), dtype).unwrap().0
}

fn golden(name: &str, file: &str, stage: &str, device: &Device) -> Tensor<2> {
    let stages = SafetensorsDir::open(&goldens(name).join(file)).unwrap();
    let shape = stages.info(stage).unwrap().shape;
    Tensor::from_data(TensorData::new(stages.read_f32(stage).unwrap(), shape), device)
}

/// Patches in f32, as the processor makes them, and the grids.
fn inputs(name: &str, device: &Device) -> (Tensor<2>, Vec<PatchGrid>) {
    let numbers: Vec<usize> =
        half::values(golden(name, "stages.safetensors", "grids", device)).iter().map(|n| *n as usize).collect();
    let grids = numbers.chunks(3).map(|g| PatchGrid { frames: g[0], rows: g[1], columns: g[2] }).collect();
    (golden(name, "stages.safetensors", "patches", device), grids)
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
                let (patches, grids) = inputs(name, &device);
                let states = |model: &QwenVision| model.hidden_states(patches.clone(), &grids).unwrap().into_iter();
                for (nth, (ours, reference)) in states(&model).zip(states(&single)).enumerate() {
                    compare(&format!("{name} state {nth}"), ours, reference, dtype, nth);
                }
                let output = |model: &QwenVision| model.forward(patches.clone(), &grids).unwrap();
                let layers = model.blocks.len() + 1;
                compare(&format!("{name} output"), output(&model), output(&single), dtype, layers);
            }
        }
    }
}

#[test]
fn every_stage_follows_the_references_bf16() {
    let (name, device) = (NAMES[0], DeviceSpec::Flex.open().unwrap().0);
    let model = load(name, FloatDtype::BF16, &device);
    let (patches, grids) = inputs(name, &device);
    for (nth, state) in model.hidden_states(patches.clone(), &grids).unwrap().into_iter().enumerate() {
        let stage = if nth == 0 { "patch_embed".to_owned() } else { format!("blocks.{}", nth - 1) };
        compare(&stage, state, golden(name, "half.safetensors", &stage, &device), DType::BF16, nth);
    }
    let reference = golden(name, "half.safetensors", "output", &device);
    compare("output", model.forward(patches, &grids).unwrap(), reference, DType::BF16, 4);
}
