//! GGUF: the single-file format of quantized language models, versions 2 and 3.

pub(crate) mod blocks;
mod header;
mod types;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use safevlm_kernels::quant::QuantizedMatrix;

use crate::error::WeightsError;
use crate::positioned::PositionedFile;
use crate::tensors::{StoredDtype, TensorInfo, TensorSource, no_tensor};
use header::{Entry, Header};
pub use types::GgmlType;
pub use value::Value;

/// An open GGUF file: metadata in memory, tensors unread.
#[derive(Debug)]
pub struct GgufFile {
    file: PositionedFile,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Entry>,
}

impl GgufFile {
    /// Opens `path` and checks its whole header against the file's size.
    ///
    /// # Errors
    /// When the file is not GGUF, is cut short, its header lies, or a tensor has a type that is
    /// not among [`GgmlType::ALL`].
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = PositionedFile::open(path)?;
        let Header { metadata, tensors } = header::read(&file)?;
        Ok(Self { file, metadata, tensors })
    }

    /// The metadata value `key`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// The text `key`.
    ///
    /// # Errors
    /// When it is absent or not a text.
    pub fn text(&self, key: &str) -> Result<&str, WeightsError> {
        match self.value(key) {
            Some(Value::String(text)) => Ok(text),
            other => Err(self.wrong(key, "a text", other)),
        }
    }

    /// The non-negative integer `key`.
    ///
    /// # Errors
    /// When it is absent, negative, beyond 32 bits or not an integer.
    pub fn count(&self, key: &str) -> Result<usize, WeightsError> {
        match self.value(key) {
            Some(Value::Integer(n)) if (0..=u32::MAX.into()).contains(n) => Ok(*n as usize),
            other => Err(self.wrong(key, "a non-negative 32-bit integer", other)),
        }
    }

    /// The number `key`.
    ///
    /// # Errors
    /// When it is absent, not finite or not a float.
    pub fn float(&self, key: &str) -> Result<f64, WeightsError> {
        match self.value(key) {
            Some(Value::Float(x)) if x.is_finite() => Ok(*x),
            other => Err(self.wrong(key, "a finite float", other)),
        }
    }

    /// The texts `key`.
    ///
    /// # Errors
    /// When they are absent or not texts.
    pub fn texts(&self, key: &str) -> Result<&[String], WeightsError> {
        match self.value(key) {
            Some(Value::Strings(texts)) => Ok(texts),
            other => Err(self.wrong(key, "a list of texts", other)),
        }
    }

    /// The integers `key`.
    ///
    /// # Errors
    /// When they are absent or not integers.
    pub fn integers(&self, key: &str) -> Result<&[i64], WeightsError> {
        match self.value(key) {
            Some(Value::Integers(integers)) => Ok(integers),
            other => Err(self.wrong(key, "a list of integers", other)),
        }
    }

    fn wrong(&self, key: &str, expected: &str, found: Option<&Value>) -> WeightsError {
        let reason = match found {
            None => format!("it has no `{key}`"),
            Some(_) => format!("its `{key}` is not {expected}"),
        };
        WeightsError::malformed(&self.file.path, "GGUF", reason)
    }
}

impl TensorSource for GgufFile {
    fn path(&self) -> &Path {
        &self.file.path
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors
            .get(name)
            .map(|entry| TensorInfo { shape: entry.shape.clone(), dtype: StoredDtype::Ggml(entry.kind) })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let entry = self.tensors.get(name).ok_or_else(|| no_tensor(self, name))?;
        let (block_values, block_bytes) = entry.kind.block();
        let mut values = Vec::with_capacity(entry.length / block_bytes * block_values);
        let file = &self.file;
        file.read_pieces(entry.offset, entry.length, block_bytes, |bytes| {
            blocks::append(entry.kind, bytes, &mut values);
            Ok(())
        })?;
        Ok(values)
    }

    fn read_blocks(&self, name: &str) -> Result<Option<QuantizedMatrix>, WeightsError> {
        let entry = self.tensors.get(name).ok_or_else(|| no_tensor(self, name))?;
        self.file.read_blocks(entry.kind, &entry.shape, entry.offset, name)
    }
}
