//! PyTorch state dicts (`.pth`, `.pt`, `.bin`), read without running anything they contain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pytorch_reader::{DType, PytorchError, PytorchReader, Tensor};

use crate::decode;
use crate::error::WeightsError;
use crate::tensors::{StoredDtype, TensorInfo, TensorSource, no_tensor};

/// One state dict, or the shards of one.
///
/// Reading is Burn's `pytorch-reader`: it interprets the few pickle opcodes that tensors need,
/// calls nothing, and checks every declared length against the file. Names are dotted paths
/// through nested dictionaries (`state_dict.fc.weight` where the file nests them so).
#[derive(Debug)]
pub struct StateDict {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl StateDict {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// When the file is absent, not a state dict, truncated, or holds tensors that cannot be
    /// represented (sparse, quantized, big-endian).
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        Self::open_shards(path, &[path.to_path_buf()])
    }

    /// Opens `files`, which together are the checkpoint called `path`.
    ///
    /// # Errors
    /// As [`StateDict::open`], and when two files hold the same tensor.
    pub fn open_shards(path: &Path, files: &[PathBuf]) -> Result<Self, WeightsError> {
        let mut tensors = BTreeMap::new();
        for file in files {
            let reader = PytorchReader::new(file).map_err(|error| match error {
                PytorchError::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
                    WeightsError::io("read", file)(error)
                }
                error => WeightsError::malformed(file, "PyTorch", error.to_string()),
            })?;
            for (name, tensor) in reader.into_tensors() {
                if tensors.insert(name.clone(), tensor).is_some() {
                    let reason = format!("another shard holds `{name}` too");
                    return Err(WeightsError::malformed(file, "PyTorch", reason));
                }
            }
        }
        if tensors.is_empty() {
            return Err(WeightsError::malformed(path, "PyTorch", "it holds no tensor"));
        }
        Ok(Self { path: path.to_path_buf(), tensors })
    }
}

impl TensorSource for StateDict {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors
            .get(name)
            .map(|tensor| TensorInfo { shape: tensor.shape().to_vec(), dtype: stored(tensor.dtype()) })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let tensor = self.tensors.get(name).ok_or_else(|| no_tensor(self, name))?;
        let bytes = tensor.read().map_err(|error| WeightsError::malformed(&self.path, "PyTorch", error.to_string()))?;
        let mut values = Vec::with_capacity(tensor.num_elements());
        // The reader gives native order; the decoder wants little-endian, as all targets are.
        decode::append(stored(tensor.dtype()), &bytes, &mut values)
            .map_err(|reason| WeightsError::unsupported(&self.path, format!("tensor `{name}`: {reason}")))?;
        Ok(values)
    }
}

fn stored(dtype: DType) -> StoredDtype {
    match dtype {
        DType::F64 => StoredDtype::F64,
        DType::F32 => StoredDtype::F32,
        DType::F16 => StoredDtype::F16,
        DType::BF16 => StoredDtype::BF16,
        DType::I64 => StoredDtype::I64,
        DType::I32 => StoredDtype::I32,
        DType::I16 => StoredDtype::I16,
        DType::I8 => StoredDtype::I8,
        DType::U64 => StoredDtype::U64,
        DType::U32 => StoredDtype::U32,
        DType::U16 => StoredDtype::U16,
        DType::U8 => StoredDtype::U8,
        DType::Bool => StoredDtype::Bool,
    }
}
