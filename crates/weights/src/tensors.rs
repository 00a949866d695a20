//! The one shape in which all checkpoint formats are read: named tensors, f32 on request.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use safevlm_kernels::quant::QuantizedMatrix;
use serde::{Serialize, Serializer};

use crate::error::WeightsError;
use crate::gguf::GgmlType;

/// How a checkpoint stores the values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are the formats' own.
pub enum StoredDtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// One of GGUF's block-quantized types.
    Ggml(GgmlType),
}

impl StoredDtype {
    /// How many values share a block, and the block's bytes; a plain type's blocks are its values.
    pub(crate) fn block(self) -> (usize, usize) {
        match self {
            Self::F64 | Self::I64 | Self::U64 => (1, 8),
            Self::F32 | Self::I32 | Self::U32 => (1, 4),
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => (1, 2),
            Self::I8 | Self::U8 | Self::Bool => (1, 1),
            Self::Ggml(kind) => kind.block(),
        }
    }
}

impl fmt::Display for StoredDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ggml(ggml) => write!(f, "{ggml:?}"),
            plain => write!(f, "{plain:?}"),
        }
    }
}

impl Serialize for StoredDtype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of a tensor before its values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The stored element type.
    pub dtype: StoredDtype,
}

impl TensorInfo {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The bytes in which the values are stored, as whole blocks.
    pub fn stored_bytes(&self) -> u64 {
        let (values, bytes) = self.dtype.block();
        (self.len() as u64 / values as u64).saturating_mul(bytes as u64)
    }

    /// Whether the tensor holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A checkpoint: named tensors whose values are read one tensor at a time.
pub trait TensorSource {
    /// The file or folder, for messages.
    fn path(&self) -> &Path;

    /// The names of all tensors, sorted.
    fn names(&self) -> Vec<String>;

    /// Shape and type of the tensor `name`, without reading its values.
    fn info(&self, name: &str) -> Option<TensorInfo>;

    /// The values of the tensor `name`, row-major, as f32. Nothing is kept: the peak is this one
    /// tensor and a small buffer.
    ///
    /// # Errors
    /// When there is no such tensor, the file cannot be read, or its values are integers that
    /// f32 cannot hold exactly.
    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError>;

    /// Hands the values of the tensor `name`, in order and as f32, to `take`, so that they can be
    /// converted without the whole tensor in f32. A source that has no use for pieces hands over one.
    ///
    /// # Errors
    /// As [`read_f32`](Self::read_f32), and the first error of `take`.
    fn read_pieces(&self, name: &str, take: &mut TakePiece<'_>) -> Result<(), WeightsError> {
        take(&self.read_f32(name)?)
    }

    /// The matrix `name` in the blocks that it is stored in; none if it is not stored in blocks that a CPU
    /// multiplies as they are.
    ///
    /// # Errors
    /// As [`read_f32`](Self::read_f32).
    fn read_blocks(&self, name: &str) -> Result<Option<QuantizedMatrix>, WeightsError> {
        let _ = name;
        Ok(None)
    }
}

/// What [`TensorSource::read_pieces`] hands values to.
pub type TakePiece<'a> = dyn FnMut(&[f32]) -> Result<(), WeightsError> + 'a;

/// Tensors in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tensors {
    map: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Tensors {
    /// No tensors yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a tensor.
    ///
    /// # Errors
    /// When the number of values is not the product of the shape.
    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Result<(), WeightsError> {
        let name = name.into();
        if shape.iter().product::<usize>() != values.len() {
            return Err(WeightsError::Mismatch(format!(
                "`{name}` has {} values for the shape {shape:?}",
                values.len()
            )));
        }
        self.map.insert(name, (shape, values));
        Ok(())
    }

    /// Shape and values of the tensor `name`.
    pub fn get(&self, name: &str) -> Option<(&[usize], &[f32])> {
        self.map.get(name).map(|(s, v)| (s.as_slice(), v.as_slice()))
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        self.map.remove(name)
    }

    /// Name, shape and values of every tensor, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        self.map.iter().map(|(name, (shape, values))| (name.as_str(), shape.as_slice(), values.as_slice()))
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl TensorSource for Tensors {
    fn path(&self) -> &Path {
        Path::new("tensors in memory")
    }

    fn names(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.map.get(name).map(|(shape, _)| TensorInfo { shape: shape.clone(), dtype: StoredDtype::F32 })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        self.map.get(name).map(|(_, values)| values.clone()).ok_or_else(|| no_tensor(self, name))
    }
}

/// The error for a tensor that `source` lacks.
pub(crate) fn no_tensor(source: &dyn TensorSource, name: &str) -> WeightsError {
    WeightsError::NoTensor { path: source.path().to_path_buf(), name: name.to_string() }
}
