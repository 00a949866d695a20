//! The tiny checkpoints of xtask/goldens/gemma_tiny.py.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_gemma::{Gemma, GemmaConfig, GemmaProjector, GemmaProjectorConfig, key_rules, projector_key_rules};
use safevlm_nn::{CausalLm, GuardHead, ImageTokens, Projector, Sequences, VisionEncoder, Vlm, vlm};
use safevlm_weights::{Allow, FloatDtype, KeyMap, SafetensorsDir, TensorSource, load_module, load_module_as};
use serde_json::Value;

pub(crate) const NAMES: [&str; 2] = ["tiny-text", "tiny-image"];
pub(crate) const IMAGE: u32 = 60;
pub(crate) const VOCABULARY: usize = 64;
/// Visual tokens of one image.
pub(crate) const TOKENS: usize = 9;

pub(crate) fn goldens(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

pub(crate) fn flex() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

pub(crate) fn stages(name: &str) -> SafetensorsDir {
    SafetensorsDir::open(&goldens(name).join("stages.safetensors")).unwrap()
}

pub(crate) fn json(name: &str, file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(goldens(name).join(file)).unwrap()).unwrap()
}

fn key_map(rules: &[(String, String)]) -> KeyMap {
    KeyMap::new(&rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect::<Vec<_>>())
}

/// The language model; every tensor of the checkpoint but the projector's is its.
pub(crate) fn load(name: &str, device: &Device) -> Gemma {
    load_as(name, FloatDtype::F32, device)
}

pub(crate) fn load_as(name: &str, dtype: FloatDtype, device: &Device) -> Gemma {
    let config = GemmaConfig::from_hf(&json(name, "config.json")).unwrap();
    let weights = SafetensorsDir::open(&goldens(name)).unwrap();
    let allow = Allow::nothing().unused(r"^multi_modal_projector\.");
    load_module_as(config.init(device), &weights, &key_map(&key_rules("")), &allow, dtype).unwrap().0
}

pub(crate) fn load_projector(device: &Device) -> GemmaProjector {
    let config = GemmaProjectorConfig::from_hf(&json("tiny-image", "config.json"), 32).unwrap();
    assert_eq!(config.tokens(), TOKENS);
    let weights = SafetensorsDir::open(&goldens("tiny-image")).unwrap();
    let allow = Allow::nothing().unused(r"^language_model\.");
    load_module(config.init(device), &weights, &key_map(&projector_key_rules("")), &allow).unwrap().0
}

/// The golden rows.
pub(crate) fn ids(stages: &dyn TensorSource) -> Vec<Vec<u32>> {
    let width = stages.info("input_ids").unwrap().shape[1];
    let flat = stages.read_f32("input_ids").unwrap();
    flat.chunks(width).map(|row| row.iter().map(|id| *id as u32).collect()).collect()
}

pub(crate) fn golden<const D: usize>(stages: &dyn TensorSource, stage: &str, device: &Device) -> Tensor<D> {
    let shape: [usize; D] = stages.info(stage).unwrap().shape.try_into().unwrap();
    Tensor::from_data(TensorData::new(stages.read_f32(stage).unwrap(), shape), device)
}

/// The reference's visual tokens of these images; none for no images.
pub(crate) fn visual(name: &str, images: &[usize], device: &Device) -> Option<Tensor<3>> {
    let all = (!images.is_empty()).then(|| golden::<3>(&stages(name), "visual_tokens", device))?;
    Some(Tensor::cat(images.iter().map(|nth| all.clone().narrow(0, *nth, 1)).collect(), 0))
}

/// Which images stand in each golden row.
pub(crate) fn images(name: &str) -> [Vec<usize>; 2] {
    if name == "tiny-image" { [vec![0, 1], vec![2]] } else { [vec![], vec![]] }
}

/// Stands where a model's other parts would.
#[derive(Module, Debug)]
struct Absent {
    unused: Param<Tensor<1>>,
}

impl VisionEncoder for Absent {
    type Pixels = Tensor<4>;

    fn encode(&self, _: Tensor<4>) -> ImageTokens {
        unreachable!("visual tokens are golden")
    }
}

impl Projector for Absent {
    fn project(&self, _: ImageTokens) -> ImageTokens {
        unreachable!("visual tokens are golden")
    }
}

impl GuardHead for Absent {
    fn classify(&self, _: ImageTokens) -> Tensor<2> {
        unreachable!("there is no guard")
    }
}

/// Text embeddings with the visual tokens in their places, as every assembled model makes them.
pub(crate) fn embed(model: &Gemma, rows: &Sequences, visual: Option<Tensor<3>>, device: &Device) -> Tensor<3> {
    let absent = || Absent { unused: Param::from_tensor(Tensor::zeros([1], device)) };
    let whole = Vlm { vision: absent(), projector: absent(), language_model: model.clone(), guard: None::<Absent> };
    whole.embed(rows, visual.map(ImageTokens::equal).as_ref(), device).unwrap()
}

/// Logits of every token of every row, `[batch, tokens, vocabulary]`.
pub(crate) fn logits(model: &Gemma, rows: &Sequences, visual: Option<Tensor<3>>, device: &Device) -> Tensor<3> {
    let hidden = vlm::run(model, embed(model, rows, visual, device), rows, 0, None, device);
    let [batch, tokens, width] = hidden.dims();
    model.logits(hidden.reshape([batch * tokens, width])).reshape([batch, tokens, VOCABULARY])
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Largest difference, as a share of the largest reference value.
#[track_caller]
pub(crate) fn compare(stage: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{stage}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= 2e-5 * scale, "{stage} is the first stage that differs: by {worst} of {scale}");
}
