//! Tensors into safetensors files, one by one and atomically.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use half::bf16;
use safevlm_kernels::quant::{BlockFormat, QuantizedMatrix, quantize};

use crate::atomic::AtomicFile;
use crate::dtype::{FloatDtype, to_f16};
use crate::error::WeightsError;
use crate::progress::Progress;
use crate::safetensors::blocks::{BLOCKS, describe};
use crate::safetensors::header::{METADATA, RawEntry};
use crate::tensors::{TensorInfo, TensorSource};

/// How values are stored in a file.
pub type SaveDtype = FloatDtype;

/// Values that are quantized at a time, at least, where there are so many.
const PIECE: usize = 1 << 20;

/// How one tensor is stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// As plain values.
    Float(SaveDtype),
    /// In blocks of few bits; only matrices can be.
    Blocks(BlockFormat),
}

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The shape of its values.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub storage: Storage,
}

impl Declared {
    /// The entry's type and shape in the file, and its number of bytes.
    fn entry(&self) -> Result<(String, Vec<u64>, u64), WeightsError> {
        let Self { name, shape, storage } = self;
        let mismatch = |reason: String| WeightsError::Mismatch(format!("`{name}` {reason}"));
        let wide = |shape: &[usize]| shape.iter().map(|extent| *extent as u64).collect::<Vec<_>>();
        let (dtype, shape, unit) = match storage {
            Storage::Float(dtype) => (format!("{dtype:?}"), wide(shape), dtype.size() as u64),
            Storage::Blocks(format) => {
                let [rows, columns] = shape[..] else { return Err(mismatch(format!("is no matrix, for {format}"))) };
                let row = format.row_bytes(columns).map_err(WeightsError::quantize(name))?;
                ("U8".to_string(), wide(&[rows, row]), 1)
            }
        };
        let bytes = shape.iter().try_fold(unit, |product, extent| product.checked_mul(*extent));
        let bytes = bytes.filter(|bytes| isize::try_from(*bytes).is_ok());
        Ok((dtype, shape, bytes.ok_or_else(|| mismatch("is too large".to_string()))?))
    }
}

/// Writes one safetensors file: the header first, then the tensors in the declared order.
///
/// The file appears at its path with [`SafetensorsWriter::finish`]; dropped before that, it
/// leaves nothing.
#[derive(Debug)]
pub struct SafetensorsWriter {
    file: AtomicFile,
    /// What is still to be written, last first.
    pending: Vec<Declared>,
}

impl SafetensorsWriter {
    /// Starts a file with these tensors (name and shape), all of one type, and free-text `metadata`.
    ///
    /// # Errors
    /// As [`create_mixed`](Self::create_mixed).
    pub fn create(
        path: &Path,
        tensors: &[(String, Vec<usize>)],
        dtype: SaveDtype,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, WeightsError> {
        let storage = Storage::Float(dtype);
        let declare =
            |(name, shape): &(String, Vec<usize>)| Declared { name: name.clone(), shape: shape.clone(), storage };
        Self::create_mixed(path, tensors.iter().map(declare).collect(), metadata)
    }

    /// Starts a file with these tensors, each stored in its own way, and free-text `metadata`.
    ///
    /// # Errors
    /// When a name occurs twice, a shape overflows or does not fit a block format, or the file cannot be created.
    pub fn create_mixed(
        path: &Path,
        mut tensors: Vec<Declared>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, WeightsError> {
        let mut header = serde_json::Map::new();
        let mut metadata = metadata.clone();
        let blocks: BTreeMap<_, _> = tensors
            .iter()
            .filter_map(|tensor| match tensor.storage {
                Storage::Blocks(format) => Some((tensor.name.clone(), format)),
                Storage::Float(_) => None,
            })
            .collect();
        if !blocks.is_empty() {
            metadata.insert(BLOCKS.to_string(), describe(&blocks));
        }
        if !metadata.is_empty() {
            header.insert(METADATA.to_string(), json(&metadata, path)?);
        }
        let mut offset = 0u64;
        for tensor in &tensors {
            let (dtype, shape, bytes) = tensor.entry()?;
            let end = offset.saturating_add(bytes);
            let entry = RawEntry { dtype, shape, data_offsets: [offset, end] };
            if header.insert(tensor.name.clone(), json(&entry, path)?).is_some() {
                return Err(WeightsError::Mismatch(format!("`{}` occurs twice", tensor.name)));
            }
            offset = end;
        }
        tensors.reverse();
        let mut text = json(&header, path)?.to_string().into_bytes();
        // Aligned data can be used in place by readers that map the file.
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut this = Self { file: AtomicFile::create(path)?, pending: tensors };
        this.put(&(text.len() as u64).to_le_bytes())?;
        this.put(&text)?;
        Ok(this)
    }

    /// Writes the values of the next declared tensor, which must be `name`.
    ///
    /// # Errors
    /// When it is not that tensor's turn, the count differs from its shape, a value does not fit its type, or the
    /// disk is full.
    pub fn write(&mut self, name: &str, values: &[f32]) -> Result<(), WeightsError> {
        let tensor = self.next(name, values.len())?;
        self.put_values(&tensor, values)
    }

    /// [`write`](Self::write) of the tensor `name` of `source`, in pieces where that can be.
    ///
    /// # Errors
    /// As [`write`](Self::write), and when `source` cannot be read.
    pub fn write_from(&mut self, name: &str, source: &dyn TensorSource) -> Result<(), WeightsError> {
        let tensor = self.next(name, source.info(name).map_or(0, |info| info.len()))?;
        // A piece is as many whole rows as make it large enough.
        let columns = tensor.shape.last().copied().unwrap_or(1).max(1);
        let enough = PIECE.next_multiple_of(columns);
        let (mut rows, mut count) = (Vec::<f32>::new(), 0);
        source.read_pieces(name, &mut |piece| {
            count += piece.len();
            rows.extend_from_slice(piece);
            let whole = rows.len() / enough * enough;
            self.put_values(&tensor, &rows[..whole])?;
            rows.drain(..whole);
            Ok(())
        })?;
        if count != tensor.shape.iter().product::<usize>() {
            return Err(WeightsError::Mismatch(format!("`{name}` has {count} values for {:?}", tensor.shape)));
        }
        self.put_values(&tensor, &rows)
    }

    /// Writes the blocks of the next declared tensor as they are.
    ///
    /// # Errors
    /// As [`write`](Self::write), and when it was declared in another format.
    pub fn write_blocks(&mut self, name: &str, matrix: &QuantizedMatrix) -> Result<(), WeightsError> {
        let tensor = self.next(name, matrix.rows() * matrix.columns())?;
        if tensor.storage != Storage::Blocks(matrix.format()) {
            return Err(WeightsError::Mismatch(format!("`{name}` is {}, which was not declared", matrix.format())));
        }
        self.put(matrix.bytes())
    }

    /// The tensor whose turn it is.
    fn next(&mut self, name: &str, count: usize) -> Result<Declared, WeightsError> {
        match self.pending.pop() {
            Some(next) if next.name == name && next.shape.iter().product::<usize>() == count => Ok(next),
            next => Err(WeightsError::Mismatch(format!(
                "`{name}` with {count} values was written where {next:?} was declared"
            ))),
        }
    }

    /// Values of `tensor`, whole rows where it is stored in blocks.
    fn put_values(&mut self, tensor: &Declared, values: &[f32]) -> Result<(), WeightsError> {
        let dtype = match tensor.storage {
            Storage::Float(dtype) => dtype,
            Storage::Blocks(format) => {
                let columns = tensor.shape.last().copied().unwrap_or(0);
                let blocks = quantize(format, values, columns).map_err(WeightsError::quantize(&tensor.name))?;
                return self.put(&blocks);
            }
        };
        let mut bytes = Vec::with_capacity(1 << 18);
        for piece in values.chunks(1 << 16) {
            bytes.clear();
            match dtype {
                SaveDtype::F32 => bytes.extend(piece.iter().flat_map(|v| v.to_le_bytes())),
                SaveDtype::BF16 => {
                    bytes.extend(piece.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()));
                }
                SaveDtype::F16 => {
                    for value in piece {
                        let half = to_f16(*value).ok_or_else(|| {
                            let name = &tensor.name;
                            WeightsError::Mismatch(format!("`{name}` holds {value}, which half precision cannot store"))
                        })?;
                        bytes.extend(half.to_le_bytes());
                    }
                }
            }
            self.put(&bytes)?;
        }
        Ok(())
    }

    /// Makes the file durable and visible.
    ///
    /// # Errors
    /// When a declared tensor was not written, or the disk is full.
    pub fn finish(self) -> Result<(), WeightsError> {
        match self.pending.last() {
            None => self.file.commit(),
            Some(next) => Err(WeightsError::Mismatch(format!("`{}` was not written", next.name))),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        let written = self.file.writer().write_all(bytes);
        written.map_err(|error| self.file.error(error))
    }
}

/// Writes all tensors of `source` to the safetensors file `path`.
///
/// # Errors
/// As [`SafetensorsWriter`], and when `source` cannot be read.
pub fn save_tensors(
    path: &Path,
    source: &dyn TensorSource,
    dtype: SaveDtype,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    save_tensors_mixed(path, source, &|_, _| Storage::Float(dtype), metadata, false)
}

/// [`save_tensors`] in which `storage` says how each tensor is stored, with a progress bar if asked for. What the
/// source has in the same blocks is copied.
///
/// # Errors
/// As [`save_tensors`].
pub fn save_tensors_mixed(
    path: &Path,
    source: &dyn TensorSource,
    storage: &dyn Fn(&str, &TensorInfo) -> Storage,
    metadata: &BTreeMap<String, String>,
    progress: bool,
) -> Result<(), WeightsError> {
    let declare = |name: String| {
        let info = source.info(&name)?;
        Some(Declared { storage: storage(&name, &info), name, shape: info.shape })
    };
    let tensors: Vec<_> = source.names().into_iter().filter_map(declare).collect();
    let progress = Progress::steps(progress, "converting".to_string(), tensors.len());
    let mut writer = SafetensorsWriter::create_mixed(path, tensors.clone(), metadata)?;
    for Declared { name, storage, .. } in &tensors {
        let blocks = match storage {
            Storage::Blocks(format) => source.read_blocks(name)?.filter(|blocks| blocks.format() == *format),
            Storage::Float(_) => None,
        };
        match blocks {
            Some(blocks) => writer.write_blocks(name, &blocks)?,
            None => writer.write_from(name, source)?,
        }
        progress.add(1);
    }
    writer.finish()
}

fn json(value: &impl serde::Serialize, path: &Path) -> Result<serde_json::Value, WeightsError> {
    serde_json::to_value(value).map_err(std::io::Error::from).map_err(WeightsError::io("write", path))
}
