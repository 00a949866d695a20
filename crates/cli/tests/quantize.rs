//! `safevlm import --quantize`, and `safevlm eval perplexity`, which says what it costs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A model of a few thousand parameters, 48 wide.
fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/safe-qwen/tests/goldens/tiny")
}

fn program(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safevlm"));
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).env("SAFEVLM_HOME", home).env_remove("RUST_BACKTRACE");
    command.args(arguments).output().unwrap()
}

#[track_caller]
fn succeeds(home: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = program(home, arguments);
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[track_caller]
fn fails(home: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = program(home, arguments);
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn a_quantized_model_is_a_folder_of_its_own_that_computes_as_the_original_does() {
    let home = tempfile::tempdir().unwrap();
    let source = tiny();
    let folder = succeeds(home.path(), &["import", source.to_str().unwrap(), "--quantize", "f16"]);
    let folder = folder.trim_end();
    assert!(folder.ends_with("models/tiny-f16"), "{folder}");
    let text = home.path().join("text.txt");
    std::fs::write(&text, "A boat lies on the lake. The lake lies between mountains. ".repeat(4)).unwrap();
    let measure = |model: &str| -> Value {
        let arguments =
            ["eval", "perplexity", "--model", model, "--device", "flex", "--text", text.to_str().unwrap(), "--json"];
        serde_json::from_str(&succeeds(home.path(), &[&arguments[..], &["--window", "64"]].concat())).unwrap()
    };
    let [original, quantized] = [source.to_str().unwrap(), "tiny-f16"].map(measure);
    assert_eq!((original["weights"].as_str(), quantized["weights"].as_str()), (Some("f32"), Some("f16")));
    assert_eq!(original["tokens"], quantized["tokens"]);
    assert!(original["windows"].as_u64().unwrap() > 1, "{original}");
    let loss = |measured: &Value| measured["cross_entropy"].as_f64().unwrap();
    assert!((loss(&original) - loss(&quantized)).abs() < 1e-2, "{original} {quantized}");
    assert!((loss(&original).exp() - original["perplexity"].as_f64().unwrap()).abs() < 1e-6, "{original}");
    let inspected: Value = serde_json::from_str(&succeeds(home.path(), &["inspect", "tiny-f16", "--json"])).unwrap();
    assert!(inspected["memory"]["stored"]["F16"].as_u64().unwrap() > 0, "{inspected}");
}

#[test]
fn what_cannot_be_quantized_is_refused_in_one_sentence() {
    let home = tempfile::tempdir().unwrap();
    let source = tiny();
    let source = source.to_str().unwrap();
    for (format, part) in [
        ("q8_0", "rows of 48 values cannot be q8_0"),
        ("q4_k", "rows of 48 values cannot be q4_k"),
        ("keep", "no quantized weights to keep"),
        ("int3", "`int3` is no weight format"),
    ] {
        let error = fails(home.path(), &["import", source, "--quantize", format]);
        assert!(error.contains(part), "{error}");
    }
    assert!(!home.path().join("models/tiny-q8_0").exists());
    let missing = fails(home.path(), &["eval", "perplexity", "--model", source, "--text", "no-such-file"]);
    assert!(missing.contains("no-such-file") && missing.contains("--text"), "{missing}");
    let short = fails(home.path(), &["eval", "perplexity", "--model", source, "--text", "x", "--window", "1"]);
    assert!(short.contains("whole number from 2"), "{short}");
}
