//! `safevlm bench`, `--threads`, and the same answers with whatever vector instructions.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name).join("tests/goldens/tiny")
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safevlm"));
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).env_remove("RUST_BACKTRACE").args(arguments);
    command
}

#[track_caller]
fn succeeds(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn bench(more: &[&str]) -> Command {
    let sizes = ["--device", "flex", "--runs", "2", "--prompt-tokens", "9", "--new-tokens", "3"];
    let mut command = program(&[&["bench"], more, &sizes].concat());
    command.arg("--model").arg(model("safe-qwen"));
    command
}

#[test]
fn every_job_is_an_object_with_the_keys_that_programs_read() {
    let output = succeeds(bench(&["--json", "--batch", "2", "--threads", "1"]));
    let measured: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = measured.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["load", "guard", "prefill", "decode", "chat"]);
    for one in &measured {
        let number = |key: &str| one[key].as_f64().unwrap_or_else(|| panic!("no {key} in {one}"));
        assert_eq!((one["model"].as_str(), one["device"].as_str()), (Some("tiny"), Some("flex")));
        assert_eq!((one["dtype"].as_str(), number("threads"), number("runs")), (Some("f32"), 1.0, 2.0));
        assert!(0.0 < number("min_ms") && number("min_ms") <= number("median_ms"));
        assert!(number("median_ms") <= number("max_ms"));
        let rates = (one["tokens_per_second"].is_number(), one["images_per_second"].is_number());
        let expected = match one["name"].as_str() {
            Some("load") => (false, false),
            Some("guard") => (false, true),
            _ => (true, false),
        };
        assert_eq!(rates, expected, "{one}");
    }
    let stages =
        |nth: usize| measured[nth]["stages"].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(stages(1), ["guard head", "prefill", "preprocess", "projector", "vision encoder"]);
    assert_eq!(stages(3), ["decode", "logits", "prefill", "preprocess"]);
}

#[test]
fn a_profile_names_the_operations() {
    let output = succeeds(bench(&["prefill", "--profile"]));
    for word in ["GB/s", "GFLOP/s", "linear", "attention", "norm", "activation", "everything else", "tokens/s"] {
        assert!(output.contains(word), "no {word} in:\n{output}");
    }
}

#[test]
fn a_model_without_a_guard_is_measured_without_one_and_refused_when_asked() {
    let base = |jobs: &[&str]| {
        let mut command = program(&[&["bench"], jobs, &["--runs", "1", "--prompt-tokens", "4", "--json"]].concat());
        let folder = model("safe-qwen").with_file_name("base");
        command.args(["--new-tokens", "2", "--device", "flex", "--model"]).arg(folder);
        command
    };
    assert_eq!(succeeds(base(&[])).lines().count(), 3);
    let Output { status, stderr, .. } = base(&["guard"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("has no guard head"), "{stderr}");
}

#[test]
fn no_threads_and_too_many_are_refused() {
    for threads in ["0", "1000000"] {
        let Output { status, stderr, .. } = program(&["--threads", threads, "models"]).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("choose from 1 to"), "{stderr}");
    }
}

#[test]
fn answers_do_not_depend_on_the_vector_instructions() {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pictures/knife.png");
    for family in ["safe-llava", "safe-qwen", "safe-gem"] {
        let answer = |level: &safevlm_kernels::Level| -> Value {
            let options = ["chat", "--prompt", "What is this?", "--max-new-tokens", "24", "--device", "flex", "--json"];
            let mut command = program(&options);
            command.env(safevlm_kernels::LEVEL_VARIABLE, level.name()).arg("--image").arg(&picture);
            command.arg("--model").arg(model(family));
            serde_json::from_str(&succeeds(command)).unwrap()
        };
        let answers: Vec<Value> = safevlm_kernels::Level::available().iter().map(answer).collect();
        for other in &answers[1..] {
            assert_eq!(answers[0]["generated_tokens"], other["generated_tokens"], "{family}");
            let unsafe_probability = |answer: &Value| answer["safety"]["unsafe_probability"].as_f64().unwrap();
            let difference = unsafe_probability(&answers[0]) - unsafe_probability(other);
            assert!(difference.abs() < 1e-5, "{family}: {difference}");
        }
    }
}
