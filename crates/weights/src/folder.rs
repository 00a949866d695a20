//! Model folders that appear whole or not at all, with a record of where they came from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic::{parent, sync_dir, sync_file};
use crate::cache::create_dir;
use crate::digest::{check_pin, sha256_file};
use crate::error::WeightsError;
use crate::fetch::lock_file;
use crate::manifest::{FileRecord, write_json};

/// The record beside the files of an imported model.
pub const MANIFEST_FILE: &str = "safevlm.json";
/// A record is a few kilobytes.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Where an imported model came from, and what it consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelManifest {
    /// The version of SafeVLM that made the folder.
    pub made_by: String,
    /// The source as the user named it.
    pub source: String,
    /// Every file that was read to make the model, by its name in the source.
    pub sources: BTreeMap<String, FileRecord>,
    /// Every file of the folder except this record.
    pub files: BTreeMap<String, FileRecord>,
}

impl ModelManifest {
    /// Reads the record of the model folder `dir`; `None` when it has none.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn read(dir: &Path) -> Result<Option<Self>, WeightsError> {
        let path = dir.join(MANIFEST_FILE);
        let length = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(WeightsError::io("read", &path)(error)),
        };
        let bad = |reason: String| WeightsError::malformed(&path, "model record", reason);
        if length > MAX_MANIFEST_BYTES {
            return Err(bad(format!("it has {length} bytes")));
        }
        let text = fs::read(&path).map_err(WeightsError::io("read", &path))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| bad(error.to_string()))
    }

    /// Hashes every file of the model folder `dir` and compares it with this record.
    ///
    /// # Errors
    /// At the first file that is absent or differs.
    pub fn verify(&self, dir: &Path) -> Result<(), WeightsError> {
        for (name, record) in &self.files {
            let path = dir.join(name);
            let found = sha256_file(&path)?;
            let (sha256, size) = (Some(record.sha256.as_str()), Some(record.size));
            check_pin(&path, (&found.0, found.1), sha256, size)?;
        }
        Ok(())
    }

    /// Whether all files of `dir` are there with their recorded sizes: quick, and enough to tell
    /// a finished import from a damaged one.
    pub fn is_complete(&self, dir: &Path) -> bool {
        self.files.iter().all(|(name, record)| fs::metadata(dir.join(name)).is_ok_and(|meta| meta.len() == record.size))
    }
}

/// A folder in the making. Dropped, it leaves nothing; killed, it leaves a hidden folder that the
/// next attempt removes.
#[derive(Debug)]
pub struct StagedFolder {
    target: PathBuf,
    aside: PathBuf,
    committed: bool,
    /// Keeps other processes from making the same folder.
    _lock: File,
}

impl StagedFolder {
    /// Starts the folder that will appear at, or replace, `target`. Waits while another process
    /// makes the same one.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn create(target: &Path) -> Result<Self, WeightsError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let hidden = |end: &str| parent(target).join(format!(".{name}.{end}"));
        create_dir(parent(target))?;
        let lock = lock_file(&hidden("lock"))?;
        let aside = hidden("partial");
        for leftover in [&aside, &hidden("old")] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).map_err(WeightsError::io("remove", leftover))?;
            }
        }
        create_dir(&aside)?;
        Ok(Self { target: target.to_path_buf(), aside, committed: false, _lock: lock })
    }

    /// Where to write the files meanwhile.
    pub fn path(&self) -> &Path {
        &self.aside
    }

    /// Writes `value` as the JSON file `name`.
    ///
    /// # Errors
    /// When the disk is full or not writable.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), WeightsError> {
        write_json(&self.aside.join(name), value)
    }

    /// Hashes all files, writes the record [`MANIFEST_FILE`], makes everything durable and the
    /// folder visible. A folder that was there before is replaced.
    ///
    /// # Errors
    /// When the disk is full or not writable; the previous folder then stays.
    pub fn commit(mut self, source: String, sources: BTreeMap<String, FileRecord>) -> Result<PathBuf, WeightsError> {
        let mut manifest = ModelManifest {
            made_by: concat!("safevlm ", env!("CARGO_PKG_VERSION")).to_string(),
            source,
            sources,
            files: BTreeMap::new(),
        };
        let aside = &self.aside;
        for entry in fs::read_dir(aside).map_err(WeightsError::io("read", aside))? {
            let path = entry.map_err(WeightsError::io("read", aside))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            sync_file(&path)?;
            let (sha256, size) = sha256_file(&path)?;
            let record = FileRecord { sha256, size, modified_ns: None };
            manifest.files.insert(name.into_owned(), record);
        }
        self.write_json(MANIFEST_FILE, &manifest)?;
        sync_dir(aside);
        let old = aside.with_extension("old");
        if self.target.exists() {
            fs::rename(&self.target, &old).map_err(WeightsError::io("replace", &self.target))?;
        }
        if let Err(error) = fs::rename(aside, &self.target) {
            let _ = fs::rename(&old, &self.target);
            return Err(WeightsError::io("create", &self.target)(error));
        }
        self.committed = true;
        sync_dir(parent(&self.target));
        let _ = fs::remove_dir_all(&old);
        Ok(self.target.clone())
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_dir_all(&self.aside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_whole_with_its_record_and_replaces_the_previous_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model-1.0");
        for content in ["one", "two"] {
            let staged = StagedFolder::create(&target).unwrap();
            fs::write(staged.path().join("config.json"), content).unwrap();
            assert_eq!(target.exists(), content == "two");
            staged.commit("test".to_string(), BTreeMap::new()).unwrap();
            assert_eq!(visible(dir.path()), ["model-1.0"]);
            assert_eq!(visible(&target), ["config.json", MANIFEST_FILE]);
        }
        assert_eq!(fs::read(target.join("config.json")).unwrap(), b"two");

        let manifest = ModelManifest::read(&target).unwrap().unwrap();
        manifest.verify(&target).unwrap();
        assert!(manifest.is_complete(&target));
        fs::write(target.join("config.json"), "TWO").unwrap();
        assert!(matches!(manifest.verify(&target), Err(WeightsError::WrongHash { .. })));
        fs::remove_file(target.join("config.json")).unwrap();
        assert!(!manifest.is_complete(&target));
    }

    #[test]
    fn a_dropped_folder_leaves_nothing_and_a_killed_one_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model");
        drop(StagedFolder::create(&target).unwrap());
        assert!(visible(dir.path()).is_empty());

        // What a killed process leaves: its folder, unlocked.
        let left = dir.path().join(".model.partial");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("model.safetensors"), "half").unwrap();
        let staged = StagedFolder::create(&target).unwrap();
        assert!(visible(staged.path()).is_empty());
    }

    #[test]
    fn a_damaged_record_is_an_error_and_an_absent_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ModelManifest::read(dir.path()).unwrap(), None);
        fs::write(dir.path().join(MANIFEST_FILE), "{").unwrap();
        assert!(ModelManifest::read(dir.path()).is_err());
    }
}
