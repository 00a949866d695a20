//! Folders in which something is wrong.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{failed, goldens, program, read, refused};

/// A golden folder that may be damaged.
pub(crate) struct Damaged {
    pub(crate) dir: TempDir,
}

impl Damaged {
    pub(crate) fn copy(family: &str, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(goldens(family).join(name)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn change(&self, file: &str, change: impl FnOnce(&mut Value)) {
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

    pub(crate) fn chat(&self) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let words = ["chat", "--device", "flex", "--max-new-tokens", "1", "--prompt", "What?", "--model", &dir];
        words.map(str::to_owned).to_vec()
    }

    #[track_caller]
    fn refused(&self, words: &[&str]) {
        self.refused_with(&[], words);
    }

    #[track_caller]
    pub(crate) fn refused_with(&self, more: &[&str], words: &[&str]) {
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
