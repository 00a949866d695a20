//! Checkpoint formats: against the references' values, and against hostile files.

mod gguf;
mod gguf_hostile;
mod llama;
mod pytorch;
mod quantized;
mod safetensors;
mod shards;

use std::path::PathBuf;

/// A committed golden file.
fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// A file with `content` in a folder of its own, which lives as long as the first value.
fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    (dir, path)
}
