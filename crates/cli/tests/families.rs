//! The program on model folders as the reference saves them: its tokens and probabilities are the reference's, and
//! what is damaged is refused.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

const FAMILIES: [&str; 3] = ["safe-llava", "safe-qwen", "safe-gem"];

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safevlm"));
    // Without it Mesa's drivers complain on standard error when wgpu looks for devices.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).env_remove("RUST_BACKTRACE").args(arguments);
    command
}

fn goldens(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(family).join("tests/goldens")
}

/// All golden model folders.
fn folders() -> Vec<PathBuf> {
    let entries = FAMILIES.iter().flat_map(|family| fs::read_dir(goldens(family)).unwrap());
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("config.json").is_file()).collect();
    folders.sort();
    folders
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn chat_gives_the_references_tokens_and_probabilities() {
    let mut asked = 0;
    for dir in folders() {
        for case in read(&dir.join("cases.json")).as_array().unwrap() {
            let turns: Vec<&Value> = case["turns"].as_array().unwrap().iter().collect();
            // What the command line can say: a question, perhaps after a system prompt.
            let (system, question) = match turns[..] {
                [question] if question[0] == "user" => (None, question),
                [system, question] if system[0] == "system" => (system[2].as_str(), question),
                _ => continue,
            };
            let tokens = case["greedy_ids"].as_array().unwrap().len().to_string();
            let mut arguments = vec!["chat", "--device", "flex", "--json", "--model", dir.to_str().unwrap()];
            arguments.extend(["--max-new-tokens", &tokens, "--prompt", question[2].as_str().unwrap()]);
            arguments.extend(system.iter().flat_map(|system| ["--system", system]));
            let pictures = question[1].as_array().unwrap().iter().map(|picture| picture.as_str().unwrap());
            let pictures: Vec<String> =
                pictures.map(|picture| dir.join("../pictures").join(picture).display().to_string()).collect();
            arguments.extend(pictures.iter().flat_map(|picture| ["--image", picture]));
            let output = program(&arguments).assert().success();
            let answer: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
            let what = format!("{}: {question}", dir.display());
            assert_eq!(answer["prompt_tokens"], case["input_ids"], "{what}");
            assert_eq!(answer["generated_tokens"], case["greedy_ids"], "{what}");
            assert_same_verdict(&answer["safety"], &case["guard"], &what);
            asked += 1;
        }
    }
    assert!(asked >= 9, "every folder has a question that the command line can ask");
}

/// Of several images the most unsafe one counts.
fn assert_same_verdict(safety: &Value, guard: &Value, what: &str) {
    let Some(images) = guard.as_array() else {
        assert!(safety.is_null(), "{what}: a verdict without a guard or an image");
        return;
    };
    let safe = |image: &Value| image[0].as_f64().unwrap();
    let least = images.iter().map(safe).fold(1.0, f64::min);
    let ours: Vec<f64> =
        safety["probabilities"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).collect();
    // Two may be equally unsafe.
    let mut most_unsafe = images.iter().filter(|image| safe(image) <= least + 1e-6);
    let is_ours = |image: &Value| {
        let reference = image.as_array().unwrap();
        let differences = ours.iter().zip(reference).map(|(ours, theirs)| (ours - theirs.as_f64().unwrap()).abs());
        reference.len() == ours.len() && differences.fold(0.0, f64::max) < 1e-4
    };
    assert!(most_unsafe.any(is_ours), "{what}: {ours:?}, not one of {images:?}");
}

#[test]
fn inspect_finds_every_tensor_in_its_place() {
    for dir in folders() {
        let output = program(&["inspect", dir.to_str().unwrap(), "--json", "--check"]).assert().success();
        let found: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert!(found["misfit"].is_null(), "{}", dir.display());
        assert_eq!(found["tensors"]["missing"], json!([]), "{}", dir.display());
        let guard = read(&dir.join("config.json"))["num_safety_categories"].is_u64();
        assert_eq!(found["parameters"]["guard"].is_u64(), guard, "{}", dir.display());
        assert!(found["memory"]["weights"].as_u64().unwrap() > 0);
        let text = program(&["inspect", dir.to_str().unwrap(), "--tensors"]).assert().success();
        let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
        assert!(text.contains("fits: ") && text.contains("memory: about "), "{text}");
    }
}

#[test]
fn published_sizes_are_known_without_having_them() {
    for (name, guard) in [
        ("safe-llava-7b", 8_431_636),
        ("safe-llava-13b", 13_160_980),
        ("safe-qwen2.5-vl-7b", 6_460_180),
        ("safe-qwen2.5-vl-32b", 13_160_980),
        ("safe-gem-12b", 7_413_140),
        ("safe-gem-27b", 14_507_156),
    ] {
        let output = program(&["inspect", "--preset", name, "--dtype", "bf16", "--json"]).assert().success();
        let found: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert_eq!(found["parameters"]["guard"], guard, "{name}");
        assert_eq!(found["tensors"]["missing"], json!([]), "{name}");
        assert_eq!(found["tensors"]["unused"], json!([]), "{name}");
    }
    assert!(refused(&["inspect", "--preset", "safe-llava-70b"]).contains("choose one of"));
}

/// The one sentence with which the program refuses bad input.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    failed(arguments, 2)
}

#[track_caller]
fn failed(arguments: &[&str], status: i32) -> String {
    let output = program(arguments).assert().code(status);
    let message = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{message}");
    assert!(output.get_output().stdout.is_empty());
    message
}

/// A golden folder that may be damaged.
struct Damaged {
    dir: TempDir,
}

impl Damaged {
    fn copy(family: &str, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(goldens(family).join(name)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        Self { dir }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn change(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let mut value = read(&self.path(file));
        change(&mut value);
        fs::write(self.path(file), value.to_string()).unwrap();
    }

    /// One of its shards.
    fn shard(&self) -> PathBuf {
        let index = read(&self.path("model.safetensors.index.json"));
        let name = index["weight_map"].as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.path(&name)
    }

    /// Overwrites the first value of the tensor `name`, which is stored as f16, with NaN.
    fn poison(&self, name: &str) {
        let path = self.path("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let entries: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        assert_eq!(entries[name]["dtype"], "F16");
        let begin = 8 + header + entries[name]["data_offsets"][0].as_u64().unwrap() as usize;
        bytes[begin..begin + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }

    fn chat(&self) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let words = ["chat", "--device", "flex", "--max-new-tokens", "1", "--prompt", "What?", "--model", &dir];
        words.map(str::to_owned).to_vec()
    }

    #[track_caller]
    fn refused(&self, words: &[&str]) {
        self.refused_with(&[], words);
    }

    #[track_caller]
    fn refused_with(&self, more: &[&str], words: &[&str]) {
        let chat = self.chat();
        let arguments: Vec<&str> = chat.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let message = refused(&arguments);
        for word in words {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
    }
}

#[test]
fn damaged_shards_are_refused() {
    let sharded = || Damaged::copy("safe-qwen", "old");
    let index = "model.safetensors.index.json";

    let damaged = sharded();
    let shard = damaged.shard();
    fs::remove_file(&shard).unwrap();
    damaged.refused(&[shard.file_name().unwrap().to_str().unwrap()]);

    let damaged = sharded();
    damaged.change(index, |index| {
        let shard = index["weight_map"].as_object().unwrap().values().next().unwrap().clone();
        index["weight_map"]["model.absent.weight"] = shard;
    });
    damaged.refused(&["model.absent.weight"]);

    // A shard that the index does not name: its tensors are missing.
    let damaged = sharded();
    damaged.change(index, |index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        let first = map.values().next().unwrap().clone();
        map.retain(|_, shard| *shard != first);
    });
    damaged.refused(&["missing"]);

    let damaged = sharded();
    let bytes = fs::read(damaged.shard()).unwrap();
    fs::write(damaged.shard(), &bytes[..bytes.len() / 2]).unwrap();
    damaged.refused(&["is not a usable safetensors file"]);
    fs::write(damaged.shard(), u64::MAX.to_le_bytes()).unwrap();
    damaged.refused(&["is not a usable safetensors file"]);
}

#[test]
fn weights_that_are_no_numbers_are_never_safe() {
    let picture = goldens("safe-llava").join("pictures");
    let picture = fs::read_dir(picture).unwrap().next().unwrap().unwrap().path();
    let damaged = Damaged::copy("safe-llava", "tiny");
    damaged.poison("img_safety_head.mlp.3.bias");
    damaged.refused_with(&["--check"], &["img_safety_head.mlp.3.bias", "NaN"]);
    let dir = damaged.dir.path().display().to_string();
    assert!(refused(&["inspect", &dir, "--check"]).contains("img_safety_head.mlp.3.bias"));
    // Without the check the verdict says that it failed.
    let message = failed(&["guard", "--device", "flex", "--model", &dir, picture.to_str().unwrap()], 1);
    assert!(!message.contains("passed"), "{message}");
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change, &[&str]); 5] = [
        ("safe-llava", |config| config["text_config"]["num_hidden_layers"] = json!("two"), &["num_hidden_layers"]),
        ("safe-llava", |config| config["image_token_index"] = json!(1), &["<image>"]),
        ("safe-qwen", |config| config["vision_config"]["patch_size"] = json!(7), &["patch"]),
        ("safe-gem", |config| config["text_config"]["sliding_window"] = json!(-1), &["sliding_window"]),
        ("safe-gem", |config| config["num_safety_categories"] = json!(19), &["num_safety_categories"]),
    ];
    for (family, change, words) in changes {
        let damaged = Damaged::copy(family, "tiny");
        damaged.change("config.json", change);
        damaged.refused(words);
    }
    let damaged = Damaged::copy("safe-llava", "tiny");
    damaged.change("config.json", |config| config["text_config"]["vocab_size"] = json!(8));
    damaged.refused(&["embeddings", "tokenizer"]);
}

#[test]
fn an_image_that_is_a_line_is_refused() {
    let damaged = Damaged::copy("safe-qwen", "tiny");
    let line = damaged.path("line.png");
    image::RgbImage::new(1, 201).save(&line).unwrap();
    damaged.refused_with(&["--image", line.to_str().unwrap()], &["200 times"]);
}

#[test]
fn a_folder_without_a_template_uses_the_published_one() {
    let damaged = Damaged::copy("safe-qwen", "tiny");
    for file in ["chat_template.jinja", "chat_template.json"] {
        let _ = fs::remove_file(damaged.path(file));
    }
    damaged.change("tokenizer_config.json", |config| {
        config.as_object_mut().unwrap().remove("chat_template");
    });
    let chat = damaged.chat();
    program(&chat.iter().map(String::as_str).collect::<Vec<_>>()).assert().success();
}

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
fn half_precision_answers_too() {
    for family in FAMILIES {
        let damaged = Damaged::copy(family, "tiny");
        let chat = damaged.chat();
        for dtype in ["f16", "bf16"] {
            let arguments: Vec<&str> = chat.iter().map(String::as_str).chain(["--dtype", dtype, "--json"]).collect();
            let output = program(&arguments).assert().success();
            let answer: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
            assert_eq!(answer["generated_tokens"].as_array().unwrap().len(), 1, "{family} in {dtype}");
        }
    }
    assert!(refused(&["chat", "--dtype", "int8", "--prompt", "x"]).contains("bf16"));
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
