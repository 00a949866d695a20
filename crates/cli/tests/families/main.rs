//! The program on model folders as the reference saves them: its tokens and probabilities are the reference's, and
//! what is damaged is refused.

mod added;
mod damaged;
mod heatmap;
mod out;
#[cfg(feature = "mpi")]
mod together;
mod trained;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::damaged::Damaged;

pub(crate) const FAMILIES: [&str; 3] = ["safe-llava", "safe-qwen", "safe-gem"];

pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safevlm"));
    // Without it Mesa's drivers complain on standard error when wgpu looks for devices.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).env_remove("RUST_BACKTRACE").args(arguments);
    command
}

pub(crate) fn goldens(family: &str) -> PathBuf {
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

pub(crate) fn read(path: &Path) -> Value {
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
pub(crate) fn refused(arguments: &[&str]) -> String {
    failed(arguments, 2)
}

#[track_caller]
pub(crate) fn failed(arguments: &[&str], status: i32) -> String {
    let output = program(arguments).assert().code(status);
    let message = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{message}");
    assert!(output.get_output().stdout.is_empty());
    message
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
