//! Adapters against what PEFT makes of them, in every layout of the base, and adapters that do not fit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safevlm_weights::{
    ADAPTER_FILE, LoraConfig, PeftAdapter, SafetensorsDir, SaveDtype, TensorSource, Tensors, WeightsError, save_tensors,
};
use serde_json::{Value, json};

const ADAPTERS: [&str; 3] = ["plain", "patterns", "biased"];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/peft").join(name)
}

fn open(name: &str) -> SafetensorsDir {
    SafetensorsDir::open(&golden(name)).unwrap()
}

/// The golden base with its names changed.
fn renamed(rename: impl Fn(&str) -> String) -> Tensors {
    let base = open("base.safetensors");
    let mut tensors = Tensors::new();
    for name in base.names() {
        tensors.insert(rename(&name), base.info(&name).unwrap().shape, base.read_f32(&name).unwrap()).unwrap();
    }
    tensors
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f32::max)
}

#[test]
fn merged_weights_are_those_of_peft() {
    let base = open("base.safetensors");
    for name in ADAPTERS {
        let adapter = PeftAdapter::open(&golden(name)).unwrap();
        let merged = adapter.merge(&base).unwrap();
        let expected = open(&format!("{name}/merged.safetensors"));
        assert_eq!(merged.names(), base.names());
        assert_eq!(merged.changed(), expected.names().len(), "{name}");
        for tensor in base.names() {
            let values = merged.read_f32(&tensor).unwrap();
            assert_eq!(merged.info(&tensor), base.info(&tensor));
            match expected.info(&tensor) {
                None => assert_eq!(values, base.read_f32(&tensor).unwrap(), "{name}: {tensor}"),
                Some(_) => {
                    let expected = expected.read_f32(&tensor).unwrap();
                    let difference = largest_difference(&values, &expected);
                    assert!(difference <= 1e-6, "{name}: {tensor} differs by {difference}");
                    // The adapter matters far more than the tolerance.
                    assert!(largest_difference(&values, &base.read_f32(&tensor).unwrap()) > 0.1, "{name}: {tensor}");
                }
            }
        }
    }
}

#[test]
fn every_layout_of_the_base_gives_the_same_values() {
    let base = open("base.safetensors");
    let older = |name: &str| format!("language_model.{name}");
    let newer = |name: &str| match name.strip_prefix("model.") {
        Some(inner) => format!("model.language_model.{inner}"),
        None => name.to_string(),
    };
    for name in ADAPTERS {
        let adapter = PeftAdapter::open(&golden(name)).unwrap();
        let plain = adapter.merge(&base).unwrap();
        for rename in [&older as &dyn Fn(&str) -> String, &newer] {
            let mut other = renamed(rename);
            other.insert("vision_tower.layers.0.self_attn.q_proj.weight", vec![1], vec![5.]).unwrap();
            let merged = adapter.merge(&other).unwrap();
            assert_eq!(merged.changed(), plain.changed());
            for tensor in base.names() {
                assert_eq!(merged.read_f32(&rename(&tensor)).unwrap(), plain.read_f32(&tensor).unwrap());
            }
            assert_eq!(merged.read_f32("vision_tower.layers.0.self_attn.q_proj.weight").unwrap(), [5.]);
        }
    }
}

/// Values that a source hands over in pieces of an awkward length.
struct Pieces(Tensors);

impl TensorSource for Pieces {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn info(&self, name: &str) -> Option<safevlm_weights::TensorInfo> {
        self.0.info(name)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        self.0.read_f32(name)
    }

    fn read_pieces(&self, name: &str, take: &mut safevlm_weights::TakePiece<'_>) -> Result<(), WeightsError> {
        self.read_f32(name)?.chunks(17).try_for_each(take)
    }
}

#[test]
fn pieces_that_end_within_a_row_are_merged_as_the_whole_is() {
    let base = Pieces(renamed(str::to_string));
    for name in ADAPTERS {
        let adapter = PeftAdapter::open(&golden(name)).unwrap();
        let merged = adapter.merge(&base).unwrap();
        for tensor in merged.names() {
            let mut pieces = Vec::new();
            let take = &mut |piece: &[f32]| {
                pieces.extend_from_slice(piece);
                Ok(())
            };
            merged.read_pieces(&tensor, take).unwrap();
            assert_eq!(pieces, merged.read_f32(&tensor).unwrap(), "{name}: {tensor}");
        }
    }
}

fn tensors(of: &[(&str, &[usize])]) -> Tensors {
    let mut tensors = Tensors::new();
    for (name, shape) in of {
        tensors.insert(*name, shape.to_vec(), vec![1.; shape.iter().product()]).unwrap();
    }
    tensors
}

fn config() -> Value {
    json!({"peft_type": "LORA", "r": 1, "lora_alpha": 2, "modules_to_save": ["head"]})
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_before_anything_is_read() {
    const A: &str = "base_model.model.model.q.lora_A.weight";
    const B: &str = "base_model.model.model.q.lora_B.weight";
    type Case<'a> = (&'a [(&'a str, &'a [usize])], &'a str);
    let base = tensors(&[
        ("model.q.weight", &[2, 3]),
        ("head.weight", &[4, 2]),
        ("model.conv.weight", &[2, 3, 1, 1]),
        ("model.twice.weight", &[2]),
        ("language_model.twice.weight", &[2]),
    ]);
    let cases: [Case<'_>; 13] = [
        (&[], "holds no tensor"),
        (&[(A, &[1, 3])], "no lora_B"),
        (&[(B, &[2, 1])], "no lora_A"),
        (&[(A, &[1, 2]), (B, &[2, 1])], "do not fit"),
        (&[(A, &[1, 3]), (B, &[3, 1])], "do not fit"),
        (&[(A, &[2, 3]), (B, &[2, 2])], "another rank than the 1"),
        (&[(A, &[1, 3]), ("model.q.lora_A.default.weight", &[1, 3]), (B, &[2, 1])], "both belong"),
        (&[("model.k.lora_A.weight", &[1, 3]), ("model.k.lora_B.weight", &[2, 1])], "no `model.k.weight`"),
        (&[("base_model.model.head.weight", &[2, 4])], "[4, 2] in the base and [2, 4]"),
        (&[("base_model.model.heed.weight", &[4, 2])], "no `heed.weight`"),
        (&[("twice.weight", &[2])], "language_model.twice.weight or model.twice.weight"),
        (&[("base_model.model.model.q.lora_magnitude_vector", &[2])], "merge_and_unload"),
        (&[("model.conv.lora_A.weight", &[1, 3, 1, 1]), ("model.conv.lora_B.weight", &[2, 1, 1, 1])], "do not fit"),
    ];
    for (adapter, part) in cases {
        let adapter = PeftAdapter::new(tensors(adapter), LoraConfig::from_json(&config()).unwrap());
        let error = adapter.merge(&base).err().expect(part);
        assert!(matches!(error, WeightsError::Adapter { .. }) && error.is_bad_input());
        assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
    }
    // What fits does fit, and a guard is added.
    let guard = "base_model.model.img_safety_head.mlp.0.weight";
    let parts = tensors(&[(A, &[1, 3]), (B, &[2, 1]), ("head.weight", &[4, 2]), (guard, &[3, 2])]);
    let adapter = PeftAdapter::new(parts, LoraConfig::from_json(&config()).unwrap());
    let merged = adapter.merge(&base).unwrap();
    assert_eq!(merged.read_f32("model.q.weight").unwrap(), [3.; 6]);
    let added: Vec<String> = merged.names().into_iter().filter(|name| base.info(name).is_none()).collect();
    assert_eq!(added, ["img_safety_head.mlp.0.weight"]);
    assert_eq!(merged.info(&added[0]).unwrap().shape, [3, 2]);
}

#[test]
fn a_folder_that_is_no_usable_adapter_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |part: &str| {
        let error = PeftAdapter::open(dir.path()).err().expect(part).to_string();
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    };
    fails("a folder with a PEFT adapter has this file");
    fs::write(dir.path().join("adapter_config.json"), "{").unwrap();
    fails("the adapter is incomplete");
    fs::write(dir.path().join("adapter_model.bin"), "").unwrap();
    fails("safe_serialization=True");
    let weights = tensors(&[("a.lora_A.weight", &[1, 1])]);
    save_tensors(&dir.path().join(ADAPTER_FILE), &weights, SaveDtype::F32, &BTreeMap::new()).unwrap();
    fails("not a usable adapter_config.json file");
    fs::write(dir.path().join("adapter_config.json"), r#"{"peft_type":"LORA","r":1,"lora_alpha":1,"use_dora":true}"#)
        .unwrap();
    fails("`use_dora`");
    fs::write(dir.path().join("adapter_config.json"), config().to_string()).unwrap();
    PeftAdapter::open(dir.path()).unwrap();
}
