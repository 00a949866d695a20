//! What is added to a model: a guard that was trained apart, and an adapter.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::damaged::Damaged;
use crate::{goldens, program};

#[test]
fn a_guard_that_was_trained_apart_joins_a_base_model() {
    let guarded = goldens("safe-llava").join("tiny");
    let home = tempfile::tempdir().unwrap();
    let import = |source: &Path, head: &Path| {
        let mut command = program(&["import", source.to_str().unwrap(), "--attach-guard", head.to_str().unwrap()]);
        command.env("SAFEVLM_HOME", home.path());
        command
    };
    // The base is the same model without its head; what is joined again must give its verdict.
    let base = Damaged::copy("safe-llava", "tiny");
    let head = base.path("head.safetensors");
    split(&base.path("model.safetensors"), &head);
    base.change("config.json", |config| {
        config.as_object_mut().unwrap().retain(|key, _| !key.contains("safety"));
    });
    let moved = home.path().join("head.safetensors");
    fs::rename(&head, &moved).unwrap();
    // Imported under the name of its folder.
    let named = home.path().join("base");
    fs::rename(base.dir.path(), &named).unwrap();
    let output = import(&named, &moved).assert().success();
    let joined = String::from_utf8(output.get_output().stdout.clone()).unwrap().trim().to_owned();
    assert!(joined.ends_with("base-guard"), "{joined}");
    let picture = fs::read_dir(goldens("safe-llava").join("pictures")).unwrap().next().unwrap().unwrap().path();
    let verdict = |model: &str| {
        let arguments = ["guard", "--device", "flex", "--json", "--model", model, picture.to_str().unwrap()];
        let output = program(&arguments).assert().success();
        let line: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        line["safety"]["unsafe_probability"].as_f64().unwrap()
    };
    assert!((verdict(&joined) - verdict(guarded.to_str().unwrap())).abs() < 1e-6);

    // A head cannot be joined twice, nor to a model of another width.
    let output = import(&guarded, &moved).assert().code(2);
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("has a guard head already"));
    let output = import(&goldens("safe-qwen").join("base"), &moved).assert().code(2);
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("its shapes are"));
}

#[test]
fn an_adapter_is_merged_as_the_model_is_read() {
    let model = Damaged::copy("safe-qwen", "tiny");
    let layer = "model.layers.0.self_attn.q_proj";
    let header = |shapes: [[usize; 2]; 2]| {
        let sizes = shapes.map(|[rows, columns]| 4 * rows * columns);
        let entry = |shape: [usize; 2], begin: usize, end: usize| json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]});
        json!({
            format!("base_model.model.{layer}.lora_A.weight"): entry(shapes[0], 0, sizes[0]),
            format!("base_model.model.{layer}.lora_B.weight"): entry(shapes[1], sizes[0], sizes[0] + sizes[1]),
        })
    };
    let adapter = |shapes: [[usize; 2]; 2], value: f32| {
        let dir = tempfile::tempdir().unwrap();
        let config = json!({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]});
        fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
        let text = header(shapes).to_string();
        let count: usize = shapes.iter().map(|[rows, columns]| rows * columns).sum();
        let values: Vec<u8> = std::iter::repeat_n(value.to_le_bytes(), count).flatten().collect();
        let file = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &values].concat();
        fs::write(dir.path().join("adapter_model.safetensors"), file).unwrap();
        dir
    };
    let picture = goldens("safe-qwen").join("pictures/cat.png").display().to_string();
    let verdict = |more: &[&str]| {
        let dir = model.dir.path().display().to_string();
        let guard = ["guard", "--device", "flex", "--json", "--model", &dir, &picture];
        let output = program(&[&guard[..], more].concat()).assert().success();
        let line: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        line["safety"]["probabilities"].to_string()
    };
    let plain = verdict(&[]);
    let fitting = [[1, 48], [48, 1]];
    let [nothing, much] = [0.0, 0.5].map(|value| adapter(fitting, value));
    assert_eq!(verdict(&["--adapter", nothing.path().to_str().unwrap()]), plain);
    assert_ne!(verdict(&["--adapter", much.path().to_str().unwrap()]), plain);
    let unfit = adapter([[1, 24], [48, 1]], 0.5);
    model.refused_with(&["--adapter", unfit.path().to_str().unwrap()], &["adapter", "does not fit"]);
    model.refused_with(&["--adapter", "nowhere"], &["adapter_config.json"]);
}

/// Moves the guard's tensors of one safetensors file to another.
fn split(model: &Path, head: &Path) {
    let bytes = fs::read(model).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let entries: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let entries = entries.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let (guard, rest): (Vec<_>, Vec<_>) = entries.partition(|(name, _)| name.contains("img_safety_head"));
    assert_eq!(guard.len(), 4);
    for (path, tensors) in [(head, guard), (model, rest)] {
        let (mut new, mut data) = (json!({}), Vec::new());
        for (name, entry) in tensors {
            let offsets = [0, 1].map(|nth| 8 + header + entry["data_offsets"][nth].as_u64().unwrap() as usize);
            let begin = data.len();
            data.extend_from_slice(&bytes[offsets[0]..offsets[1]]);
            let mut entry = entry.clone();
            entry["data_offsets"] = json!([begin, data.len()]);
            new[name] = entry;
        }
        let new = new.to_string();
        let file = [&(new.len() as u64).to_le_bytes()[..], new.as_bytes(), &data].concat();
        fs::write(path, file).unwrap();
    }
}
