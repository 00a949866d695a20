//! Sources into the cache and into model folders: packages, hubs, paths; and all that can go
//! wrong on the way.

mod fetch;
mod hub;
mod import;
mod killed;
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use safevlm_weights::{Cache, Fetcher};

/// A committed golden file.
fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// A fetcher into an empty cache, which lives as long as the first value.
fn fetcher() -> (tempfile::TempDir, Fetcher) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(dir.path())).unwrap();
    (dir, Fetcher::new(cache))
}

/// Every file below `dir` by its path in it, locks left out.
fn files_below(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_none_or(|e| e != "lock") && !path.ends_with(".lock") {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}
