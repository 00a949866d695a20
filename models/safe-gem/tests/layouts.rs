//! Every layout of names loads the same model.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use safevlm_family::{Family, read_json};
use safevlm_safe_gem::{Processor, SafeGem, allow, key_map};
use safevlm_weights::{Allow, SafetensorsDir, TensorSource, Tensors, collect_module, load_module};

/// The golden folder `name`.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// The tensors of a golden folder, renamed.
fn renamed(name: &str, rename: impl Fn(&str) -> String) -> Tensors {
    let checkpoint = SafetensorsDir::open(&golden(name)).unwrap();
    let mut tensors = Tensors::new();
    for name in checkpoint.names() {
        let shape = checkpoint.info(&name).unwrap().shape;
        tensors.insert(rename(&name), shape, checkpoint.read_f32(&name).unwrap()).unwrap();
    }
    tensors
}

fn load(name: &str, tensors: &Tensors, allow: &Allow) -> Result<SafeGem, String> {
    let config = Processor::config(&read_json(&golden(name).join("config.json")).unwrap()).unwrap();
    let loaded = load_module(config.init(&Device::flex()), tensors, &key_map(), allow);
    loaded.map(|(model, _)| model).map_err(|error| error.to_string())
}

/// A name as transformers 5 saves it.
fn saved(name: &str) -> String {
    let name = name.trim_start_matches("model.").replace("vision_tower.vision_model.", "vision_tower.");
    name.replace("language_model.model.", "language_model.").replace("language_model.", "language_model.model.")
}

/// A name as the published files have it.
fn published(name: &str) -> String {
    saved(name).replace("vision_tower.", "vision_tower.vision_model.")
}

/// A name of the model without its head.
fn headless(name: &str) -> String {
    saved(name).replace("language_model.model.", "language_model.")
}

/// A name as transformers 5 has it in memory.
fn in_memory(name: &str) -> String {
    let name = headless(name);
    if name.starts_with("img_safety_head") { name } else { format!("model.{name}") }
}

#[test]
fn every_layout_loads_the_same_model() {
    for name in ["tiny", "projector", "base"] {
        let expected = collect_module(&load(name, &renamed(name, str::to_owned), &Allow::nothing()).unwrap()).unwrap();
        let layouts: [fn(&str) -> String; 8] = [
            published,
            saved,
            headless,
            in_memory,
            |name| in_memory(name).replace("vision_tower.", "vision_tower.vision_model."),
            // As transformers 5 saves a class that is derived from its own.
            |name| in_memory(name).replace("language_model.", "language_model.model."),
            // The guard inside the model, and its layers by name.
            |name| format!("model.{}", headless(name)),
            |name| published(name).replace("mlp.0", "fc1").replace("mlp.3", "fc2"),
        ];
        for (nth, layout) in layouts.into_iter().enumerate() {
            let model = load(name, &renamed(name, layout), &Allow::nothing());
            let model = model.unwrap_or_else(|error| panic!("{name}, layout {nth}: {error}"));
            assert_eq!(collect_module(&model).unwrap(), expected, "{name}, layout {nth}");
        }
    }
}

#[test]
fn only_siglips_pooling_head_may_be_left_over() {
    let with = |extra: &str| {
        let mut tensors = renamed("base", published);
        tensors.insert(extra, vec![1], vec![0.0]).unwrap();
        load("base", &tensors, &allow())
    };
    assert!(with("vision_tower.vision_model.head.probe").unwrap().num_params() > 0);
    // Not even the head of a file without a guard in its config.json, or a head of text beside the tied one.
    for extra in ["img_safety_head.mlp.0.weight", "lm_head.weight", "language_model.lm_head.weight", "head.bias"] {
        let message = with(extra).unwrap_err();
        assert!(message.contains("unexpected") && message.contains(extra), "{message}");
    }
}

#[test]
fn a_guard_that_is_missing_or_of_another_width_is_named() {
    let mut tensors = renamed("tiny", str::to_owned);
    let (shape, values) = tensors.remove("img_safety_head.mlp.0.weight").unwrap();
    assert!(load("tiny", &tensors, &allow()).unwrap_err().contains("guard.fc1.weight"));
    tensors.insert("img_safety_head.mlp.0.weight", vec![shape[1], shape[0]], values).unwrap();
    let message = load("tiny", &tensors, &allow()).unwrap_err();
    assert!(message.contains("shape mismatch") && message.contains("[32, 16]"), "{message}");
}
