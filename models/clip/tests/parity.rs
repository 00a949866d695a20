//! Tiny random checkpoints written by transformers, stage by stage (xtask/goldens/clip.py).

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use safevlm_clip::{ClipVision, ClipVisionConfig, FeatureSelection, IGNORED, PREFIXES, key_rules};
use safevlm_core::DeviceSpec;
use safevlm_weights::{Allow, KeyMap, SafetensorsDir, TensorSource, Tensors, load_module};
use serde_json::Value;

const NAMES: [&str; 2] = ["tiny-quick", "tiny-gelu"];

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn devices() -> [Device; 2] {
    let flex = DeviceSpec::Flex.open().unwrap().0;
    [flex.clone(), flex.autodiff()]
}

fn json(name: &str, file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(goldens(name).join(file)).unwrap()).unwrap()
}

fn config(name: &str) -> ClipVisionConfig {
    ClipVisionConfig::from_hf(&json(name, "config.json")).unwrap()
}

/// The rules for every prefix at once, as an assembled model uses them.
fn keys(to: &str) -> KeyMap {
    let rules: Vec<_> = PREFIXES.iter().flat_map(|from| key_rules(from, to)).collect();
    let rules: Vec<_> = rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    KeyMap::new(&rules)
}

fn load(name: &str, config: &ClipVisionConfig, device: &Device) -> ClipVision {
    let weights = SafetensorsDir::open(&goldens(name)).unwrap();
    load_module(config.init(device), &weights, &keys(""), &Allow::nothing()).unwrap().0
}

struct Stages(SafetensorsDir);

impl Stages {
    fn open(name: &str) -> Self {
        Self(SafetensorsDir::open(&goldens(name).join("stages.safetensors")).unwrap())
    }

    fn pixels(&self, device: &Device) -> Tensor<4> {
        let shape = self.0.info("pixels").unwrap().shape;
        Tensor::from_data(TensorData::new(self.0.read_f32("pixels").unwrap(), shape), device)
    }

    /// Compares by the largest difference, as a share of the largest reference value.
    #[track_caller]
    fn compare<const D: usize>(&self, what: &str, stage: &str, ours: Tensor<D>) {
        let what = format!("{stage} of {what}");
        assert_eq!(ours.dims().to_vec(), self.0.info(stage).unwrap().shape, "{what}");
        assert_close(&what, &values(ours), &self.0.read_f32(stage).unwrap());
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

#[track_caller]
fn assert_close(what: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{what}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= 1e-5 * scale, "{what} is the first stage that differs: by {worst} of {scale}");
}

#[test]
fn every_stage_equals_the_reference() {
    for device in devices() {
        for name in NAMES {
            let model = load(name, &config(name), &device);
            let stages = Stages::open(name);
            let pixels = stages.pixels(&device);
            stages.compare(name, "patch_embedding", model.embeddings.patch_embedding.forward(pixels.clone()));
            let embedded = model.embeddings.forward(pixels.clone());
            stages.compare(name, "embeddings", embedded.clone());
            let first = model.pre_layrnorm.forward(embedded);
            stages.compare(name, "pre_layrnorm", first.clone());

            // Inside the first layer, so that a difference in it has a name.
            let layer = &model.layers[0];
            let normed = layer.layer_norm1.forward(first.clone());
            stages.compare(name, "layers.0.layer_norm1", normed.clone());
            let attended = layer.self_attn.forward(normed);
            stages.compare(name, "layers.0.self_attn", attended.clone());
            let fed = layer.mlp.forward(layer.layer_norm2.forward(first + attended));
            stages.compare(name, "layers.0.mlp", fed);

            let states = model.hidden_states(pixels.clone());
            assert_eq!(states.len(), model.layers.len() + 1);
            stages.compare(name, "pre_layrnorm", states[0].clone());
            for (nth, state) in states.into_iter().skip(1).enumerate() {
                stages.compare(name, &format!("layers.{nth}"), state);
            }
            stages.compare(name, "pooled", model.pooled(pixels));
        }
    }
}

#[test]
fn features_equal_llavas() {
    for device in devices() {
        for name in NAMES {
            let stages = Stages::open(name);
            let selections = json(name, "features.json");
            for (nth, selection) in selections.as_array().unwrap().iter().enumerate() {
                let features = FeatureSelection::from_hf(selection).unwrap();
                let config = config(name).select(features).unwrap();
                let model = load(name, &config, &device);
                let encoded = model.features(stages.pixels(&device));
                assert_eq!(encoded.dims(), [2, config.tokens(), config.feature_width()]);
                stages.compare(&format!("{name}, {selection}"), &format!("features.{nth}"), encoded);
            }
        }
    }
}

#[test]
fn a_batch_equals_single_images() {
    let [device, _] = devices();
    for name in NAMES {
        let model = load(name, &config(name), &device);
        let pixels = Stages::open(name).pixels(&device);
        let batch = model.features(pixels.clone());
        for nth in 0..2 {
            let alone = model.features(pixels.clone().narrow(0, nth, 1));
            assert_close(&format!("image {nth} of {name}"), &values(batch.clone().narrow(0, nth, 1)), &values(alone));
        }
        let [first, second] = [0, 1].map(|nth| values(batch.clone().narrow(0, nth, 1)));
        assert_ne!(first, second, "{name}: the image has no effect");
    }
}

#[test]
fn every_layout_loads_the_same_model() {
    let [device, _] = devices();
    let name = NAMES[0];
    let source = SafetensorsDir::open(&goldens(name)).unwrap();
    let reference = values(load(name, &config(name), &device).features(Stages::open(name).pixels(&device)));
    for prefix in PREFIXES {
        for inner in ["", "vision_model."] {
            let mut file = Tensors::new();
            for key in source.names() {
                let shape = source.info(&key).unwrap().shape;
                file.insert(format!("{prefix}{inner}{key}"), shape, source.read_f32(&key).unwrap()).unwrap();
            }
            // What stands beside an encoder in these files keeps its name; old ones number the positions.
            for other in ["model.layers.0.post_attention_layernorm.weight", "language_model.model.norm.weight"] {
                file.insert(other, vec![1], vec![1.0]).unwrap();
            }
            file.insert(format!("{prefix}{inner}embeddings.position_ids"), vec![1, 10], vec![0.0; 10]).unwrap();
            let allow = Allow::nothing().unused(IGNORED).unused(r"layernorm\.weight$|norm\.weight$");
            let vision = Outer { vision: config(name).init(&device) };
            let (outer, report) = load_module(vision, &file, &keys("vision."), &allow).unwrap();
            assert_eq!((report.missing.len(), report.unused.len()), (0, 3), "{prefix}{inner}: {report}");
            let ours = values(outer.vision.features(Stages::open(name).pixels(&device)));
            assert_eq!(ours, reference, "{prefix}{inner}");
        }
    }
}

/// Stands for an assembled model.
#[derive(Module, Debug)]
struct Outer {
    vision: ClipVision,
}

#[test]
fn gradients_reach_what_the_features_depend_on() {
    let [_, device] = devices();
    for name in NAMES {
        // The output of the last layer: all parameters but the pooled token's norm.
        let features = FeatureSelection { layers: vec![-1], class_token: true };
        let model = load(name, &config(name).select(features).unwrap(), &device);
        let loss = model.features(Stages::open(name).pixels(&device)).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let parameters = safevlm_weights::collect_module(&model).unwrap().names().len();
        assert_eq!(gradients.len(), parameters - 2, "{name}");

        // The layer behind LLaVA's features is not computed.
        let model = load(name, &config(name), &device);
        let loss = model.features(Stages::open(name).pixels(&device)).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let layer = safevlm_weights::collect_module(&model.layers[0]).unwrap().names().len();
        assert_eq!(gradients.len(), parameters - 2 - layer, "{name}");

        let frozen = model.no_grad();
        assert!(!frozen.features(Stages::open(name).pixels(&device)).is_require_grad());
    }
}
