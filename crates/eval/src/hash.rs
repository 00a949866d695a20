//! SHA-256 of settings, files and model folders.

use std::fs;
use std::path::{Path, PathBuf};

use safevlm_data::DataError;
use safevlm_weights::{MANIFEST_FILE, sha256_file};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::EvalError;

/// SHA-256 of something's JSON form, in hexadecimal.
pub(crate) fn of_json<T: Serialize>(value: &T) -> String {
    // Our own types have text keys only, which is all that could fail.
    let json = serde_json::to_vec(value).unwrap_or_default();
    format!("{:x}", Sha256::digest(json))
}

/// SHA-256 of a file, or of the names and contents of all files directly in a folder. What an import
/// noted beside a model is left out: it says where files came from, not what they are.
///
/// # Errors
/// When something cannot be read.
pub fn hash_path(path: &Path) -> Result<String, EvalError> {
    let file = |path: &Path| sha256_file(path).map(|(hash, _)| hash).map_err(|e| EvalError::Model(e.into()));
    if !path.is_dir() {
        return file(path);
    }
    let unreadable = |source| DataError::Io { doing: "read", path: path.to_path_buf(), source };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        if entry.is_file() && !entry.ends_with(MANIFEST_FILE) {
            files.push(entry);
        }
    }
    files.sort();
    let mut all = Sha256::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.update(format!("{name}\0{}\n", file(&path)?));
    }
    Ok(format!("{:x}", all.finalize()))
}
