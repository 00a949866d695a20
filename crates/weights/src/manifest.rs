//! What is known to be verified: hashes and sizes of the files in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::digest;
use crate::error::WeightsError;

/// Far more than any manifest needs; keeps a mistaken file from filling the memory.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// One verified file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970, where the record is about a file beside it:
    /// size and time unchanged spare a second hashing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ns: Option<u64>,
}

impl FileRecord {
    /// Hashes the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self, WeightsError> {
        let (sha256, size) = digest::sha256_file(path)?;
        Ok(Self { sha256, size, modified_ns: None })
    }
}

/// The verified files of a folder by their path in it, with `/` between the parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The package's archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archive: Option<String>,
    /// The commit that a hub's branch or tag stood for when it was first asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// The files of a hub repository that an import needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chosen: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) files: BTreeMap<String, FileRecord>,
}

impl Manifest {
    /// Reads the manifest at `path`; one that is absent or unreadable counts as empty, since it
    /// only spares work.
    pub(crate) fn read(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(meta) if meta.len() <= MAX_MANIFEST_BYTES => {
                fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
            }
            _ => Self::default(),
        }
    }

    /// Writes the manifest, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), WeightsError> {
        write_json(path, self)
    }

    /// Whether the file `name` of `folder` is still the recorded one: by size and time, and where
    /// the time differs by hash. A file that is absent or changed is not.
    pub(crate) fn holds(&mut self, folder: &Path, name: &str) -> Result<bool, WeightsError> {
        let Some(record) = self.files.get_mut(name) else {
            return Ok(false);
        };
        let path = folder.join(name);
        let Ok(meta) = fs::metadata(&path) else {
            return Ok(false);
        };
        if meta.len() != record.size {
            return Ok(false);
        }
        let modified = modified_ns(&meta);
        if modified.is_some() && modified == record.modified_ns {
            return Ok(true);
        }
        let (sha256, size) = digest::sha256_file(&path)?;
        if sha256 == record.sha256 && size == record.size {
            record.modified_ns = modified;
            return Ok(true);
        }
        Ok(false)
    }

    /// Records the file `name` of `folder`, which was just verified.
    pub(crate) fn record(&mut self, folder: &Path, name: &str, sha256: String, size: u64) -> FileRecord {
        let modified_ns = fs::metadata(folder.join(name)).ok().and_then(|meta| modified_ns(&meta));
        let record = FileRecord { sha256, size, modified_ns };
        self.files.insert(name.to_string(), record.clone());
        record
    }
}

/// Writes `value` as indented JSON, whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), WeightsError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(std::io::Error::from).map_err(WeightsError::io("write", path))?;
    text.push(b'\n');
    atomic::write_file(path, &text)
}

fn modified_ns(meta: &fs::Metadata) -> Option<u64> {
    let since = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_noticed_and_a_touched_one_is_not_distrusted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, b"abc").unwrap();
        let (sha256, size) = digest::sha256_file(&file).unwrap();
        let mut manifest = Manifest::default();
        assert!(!manifest.holds(dir.path(), "a").unwrap());
        manifest.record(dir.path(), "a", sha256, size);
        assert!(manifest.holds(dir.path(), "a").unwrap());

        let touch = |content: &[u8]| {
            fs::write(&file, content).unwrap();
            let later = UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
            let handle = fs::OpenOptions::new().write(true).open(&file).unwrap();
            handle.set_modified(later).unwrap();
        };
        touch(b"abc");
        assert!(manifest.holds(dir.path(), "a").unwrap());
        manifest.files.get_mut("a").unwrap().modified_ns = None;
        touch(b"abd");
        assert!(!manifest.holds(dir.path(), "a").unwrap());
        touch(b"abcd");
        assert!(!manifest.holds(dir.path(), "a").unwrap());
    }

    #[test]
    fn a_damaged_manifest_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        fs::write(&path, b"{ not json").unwrap();
        assert_eq!(Manifest::read(&path), Manifest::default());
        assert_eq!(Manifest::read(&dir.path().join("absent")), Manifest::default());
    }
}
