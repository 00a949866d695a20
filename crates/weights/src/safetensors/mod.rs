//! Safetensors: one file, or shards with an index.

pub(crate) mod blocks;
pub(crate) mod header;
mod index;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safevlm_kernels::quant::QuantizedMatrix;

use crate::decode;
use crate::error::WeightsError;
use crate::positioned::PositionedFile;
use crate::tensors::{StoredDtype, TakePiece, TensorInfo, TensorSource, no_tensor};
use header::{Entry, Header};
use index::WeightMap;

/// The single-file name in a model folder.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// An adapter in PEFT's format, which may lie beside the model and is no part of it.
pub const ADAPTER_FILE: &str = "adapter_model.safetensors";

/// A safetensors checkpoint: all shards opened, headers checked, values unread.
#[derive(Debug)]
pub struct SafetensorsDir {
    path: PathBuf,
    files: Vec<PositionedFile>,
    tensors: BTreeMap<String, (usize, Entry)>,
    metadata: BTreeMap<String, String>,
}

impl SafetensorsDir {
    /// Opens a file, or a folder with `model.safetensors.index.json`, `model.safetensors` or
    /// exactly one other `*.safetensors`. Every header is checked against its file's size before
    /// anything else happens. An `adapter_model.safetensors` beside the model is not read:
    /// [`PeftAdapter`](crate::PeftAdapter) does that.
    ///
    /// Of shards only those that the index names are opened. Where two of them hold the same
    /// tensor, the index decides.
    ///
    /// # Errors
    /// When there is no checkpoint, a file is truncated or its header lies, the index names what
    /// the shards lack or a file outside the folder, two shards hold a tensor that the index does
    /// not name, or a `model.safetensors` lies beside an index that does not name it.
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

    /// Name of the file that holds the tensor `name`.
    pub fn shard(&self, name: &str) -> Option<&str> {
        let (number, _) = self.tensors.get(name)?;
        self.files[*number].path.file_name()?.to_str()
    }

    fn open_shards(&mut self, folder: &Path, index: &Path) -> Result<(), WeightsError> {
        let weight_map = index::read(index)?;
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort();
        shards.dedup();
        if folder.join(SINGLE_FILE).is_file() && !shards.iter().any(|shard| *shard == SINGLE_FILE) {
            return Err(WeightsError::unsupported(
                folder,
                format!("it holds both {SINGLE_FILE} and {INDEX_FILE}, which are two checkpoints: delete one of them"),
            ));
        }
        for shard in shards {
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
                return Err(index::malformed(index, format!("the shard `{shard}` has no tensor `{name}`")));
            }
        }
        Ok(())
    }

    /// Adds one file. Where two shards hold the same tensor, the index decides.
    fn add_file(&mut self, path: &Path, shard: Option<(&str, &WeightMap)>) -> Result<(), WeightsError> {
        let file = PositionedFile::open(path)?;
        let Header { tensors, metadata } = header::read(&file)?;
        let number = self.files.len();
        for (name, entry) in tensors {
            let belongs_elsewhere =
                shard.is_some_and(|(shard, map)| map.get(&name).is_some_and(|owner| owner.as_str() != shard));
            if belongs_elsewhere {
                continue;
            }
            if let Some((other, _)) = self.tensors.get(&name) {
                let other = self.files[*other].path.display();
                let reason = format!("{other} holds `{name}` too, and {INDEX_FILE} does not say which one counts");
                return Err(WeightsError::malformed(path, "safetensors", reason));
            }
            self.tensors.insert(name, (number, entry));
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
        let count = entry.info.len();
        if entry.info.dtype == StoredDtype::F32 && cfg!(target_endian = "little") {
            // The file's bytes are the values: they are read to where they stay.
            let mut values = vec![0f32; count];
            self.files[*number].read_large(bytemuck::cast_slice_mut(&mut values), entry.offset)?;
            return Ok(values);
        }
        let mut values = Vec::with_capacity(count);
        self.read_pieces(name, &mut |piece| {
            values.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(values)
    }

    fn read_pieces(&self, name: &str, take: &mut TakePiece<'_>) -> Result<(), WeightsError> {
        let (number, entry) = self.tensors.get(name).ok_or_else(|| no_tensor(self, name))?;
        let file = &self.files[*number];
        let dtype = entry.info.dtype;
        let mut values = Vec::new();
        file.read_pieces(entry.offset, entry.length, dtype.block().1, |bytes| {
            values.clear();
            decode::append(dtype, bytes, &mut values)
                .map_err(|reason| WeightsError::unsupported(&file.path, format!("tensor `{name}`: {reason}")))?;
            take(&values)
        })
    }

    fn read_blocks(&self, name: &str) -> Result<Option<QuantizedMatrix>, WeightsError> {
        let (number, entry) = self.tensors.get(name).ok_or_else(|| no_tensor(self, name))?;
        match entry.info.dtype {
            StoredDtype::Ggml(kind) => self.files[*number].read_blocks(kind, &entry.info.shape, entry.offset, name),
            _ => Ok(None),
        }
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
    let all = found.len();
    found.retain(|path| path.file_name().is_none_or(|name| name != ADAPTER_FILE));
    let remedy = match (found.pop(), found.len()) {
        (Some(only), 0) => return Ok(only),
        (Some(_), _) => {
            let path = folder.join(INDEX_FILE);
            let remedy =
                "the folder holds several safetensors files and no index; fetch the index too, or name one file";
            return Err(WeightsError::NotFound { path, remedy: remedy.to_string() });
        }
        (None, _) if all > 0 => "the folder holds only an adapter; name the folder of the model that it adapts",
        (None, _) => "the folder holds no safetensors checkpoint; import the model first",
    };
    Err(WeightsError::NotFound { path: usual, remedy: remedy.to_string() })
}
