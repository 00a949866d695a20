//! Safetensors: one file, or shards with an index.

pub(crate) mod header;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::decode;
use crate::error::WeightsError;
use crate::positioned::PositionedFile;
use crate::tensors::{TensorInfo, TensorSource, no_tensor};
use header::{Entry, Header};

/// The single-file name in a model folder.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The index of the largest published checkpoints has a few hundred kilobytes.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// A safetensors checkpoint: all shards opened, headers checked, values unread.
#[derive(Debug)]
pub struct SafetensorsDir {
    path: PathBuf,
    files: Vec<PositionedFile>,
    tensors: BTreeMap<String, (usize, Entry)>,
    metadata: BTreeMap<String, String>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl SafetensorsDir {
    /// Opens a file, or a folder with `model.safetensors.index.json`, `model.safetensors` or
    /// exactly one other `*.safetensors`. Every header is checked against its file's size before
    /// anything else happens.
    ///
    /// # Errors
    /// When there is no checkpoint, a file is truncated or its header lies, or the index names
    /// what the shards lack.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let mut this =
            Self { path: path.to_path_buf(), files: Vec::new(), tensors: BTreeMap::new(), metadata: BTreeMap::new() };
        let index = path.join(INDEX_FILE);
        if index.is_file() {
            this.open_shards(path, &index)?;
        } else if path.is_dir() {
            this.add_file(&single_file(path)?, None)?;
        } else {
            this.add_file(path, None)?;
        }
        Ok(this)
    }

    /// The free text kept under `key` in the header's `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    fn open_shards(&mut self, folder: &Path, index: &Path) -> Result<(), WeightsError> {
        let bad = |reason: String| WeightsError::malformed(index, "safetensors index", reason);
        let length = fs::metadata(index).map_err(WeightsError::io("read", index))?;
        if length.len() > MAX_INDEX_BYTES {
            return Err(bad(format!("it has more than {MAX_INDEX_BYTES} bytes")));
        }
        let text = fs::read(index).map_err(WeightsError::io("read", index))?;
        let Index { weight_map } = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in &shards {
            // A plain name only: an index must not reach outside its folder.
            if Path::new(shard.as_str()).file_name() != Some(shard.as_ref()) {
                return Err(bad(format!("it names the shard `{shard}`, which is not a file name")));
            }
            let file = folder.join(shard);
            if !file.is_file() {
                return Err(WeightsError::NotFound {
                    path: file,
                    remedy: format!("{} lists this shard; fetch it too", index.display()),
                });
            }
            self.add_file(&file, Some((shard, &weight_map)))?;
        }
        for (name, shard) in &weight_map {
            if !self.tensors.contains_key(name) {
                return Err(bad(format!("the shard `{shard}` has no tensor `{name}`")));
            }
        }
        Ok(())
    }

    /// Adds one file. Where two shards hold the same tensor, the index decides.
    fn add_file(&mut self, path: &Path, shard: Option<(&str, &BTreeMap<String, String>)>) -> Result<(), WeightsError> {
        let file = PositionedFile::open(path)?;
        let Header { tensors, metadata } = header::read(&file)?;
        let number = self.files.len();
        for (name, entry) in tensors {
            let belongs_elsewhere =
                shard.is_some_and(|(shard, map)| map.get(&name).is_some_and(|owner| owner.as_str() != shard));
            if !belongs_elsewhere {
                self.tensors.insert(name, (number, entry));
            }
        }
        self.metadata.extend(metadata);
        self.files.push(file);
        Ok(())
    }
}

impl TensorSource for SafetensorsDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|(_, entry)| entry.info.clone())
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let (number, entry) = self.tensors.get(name).ok_or_else(|| no_tensor(self, name))?;
        let file = &self.files[*number];
        let dtype = entry.info.dtype;
        let unit = decode::size_of(dtype).unwrap_or(1);
        let mut values = Vec::with_capacity(entry.length / unit);
        file.read_pieces(entry.offset, entry.length, unit, |bytes| {
            decode::append(dtype, bytes, &mut values)
                .map_err(|reason| WeightsError::unsupported(&file.path, format!("tensor `{name}`: {reason}")))
        })?;
        Ok(values)
    }
}

/// The checkpoint of a folder without an index.
fn single_file(folder: &Path) -> Result<PathBuf, WeightsError> {
    let usual = folder.join(SINGLE_FILE);
    if usual.is_file() {
        return Ok(usual);
    }
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(WeightsError::io("read", folder))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors") && path.is_file())
        .collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(WeightsError::NotFound {
            path: usual,
            remedy: "the folder holds no safetensors checkpoint; import the model first".to_string(),
        }),
        (Some(_), _) => Err(WeightsError::NotFound {
            path: folder.join(INDEX_FILE),
            remedy: "the folder holds several safetensors files and no index; fetch the index too, or name one file"
                .to_string(),
        }),
    }
}
