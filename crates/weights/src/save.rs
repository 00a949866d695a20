//! Tensors into safetensors files, one by one and atomically.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use half::bf16;

use crate::atomic::AtomicFile;
use crate::dtype::{FloatDtype, to_f16};
use crate::error::WeightsError;
use crate::progress::Progress;
use crate::safetensors::header::{METADATA, RawEntry};
use crate::tensors::TensorSource;

/// How values are stored in a file.
pub type SaveDtype = FloatDtype;

/// Writes one safetensors file: the header first, then the tensors in the declared order.
///
/// The file appears at its path with [`SafetensorsWriter::finish`]; dropped before that, it
/// leaves nothing.
#[derive(Debug)]
pub struct SafetensorsWriter {
    file: AtomicFile,
    dtype: SaveDtype,
    /// What is still to be written, last first.
    pending: Vec<(String, usize)>,
}

impl SafetensorsWriter {
    /// Starts a file with these tensors (name and shape) and free-text `metadata`.
    ///
    /// # Errors
    /// When a name occurs twice, a shape overflows, or the file cannot be created.
    pub fn create(
        path: &Path,
        tensors: &[(String, Vec<usize>)],
        dtype: SaveDtype,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, WeightsError> {
        let unit = dtype.size();
        let mut header = serde_json::Map::new();
        if !metadata.is_empty() {
            header.insert(METADATA.to_string(), json(metadata, path)?);
        }
        let mut offset = 0u64;
        let mut pending = Vec::with_capacity(tensors.len());
        for (name, shape) in tensors {
            let count = shape
                .iter()
                .try_fold(1usize, |product, extent| product.checked_mul(*extent))
                .filter(|count| count.checked_mul(unit).is_some())
                .ok_or_else(|| WeightsError::Mismatch(format!("`{name}` is too large")))?;
            let end = offset + (count * unit) as u64;
            let entry = RawEntry {
                dtype: format!("{dtype:?}"),
                shape: shape.iter().map(|extent| *extent as u64).collect(),
                data_offsets: [offset, end],
            };
            if header.insert(name.clone(), json(&entry, path)?).is_some() {
                return Err(WeightsError::Mismatch(format!("`{name}` occurs twice")));
            }
            offset = end;
            pending.push((name.clone(), count));
        }
        pending.reverse();
        let mut text = json(&header, path)?.to_string().into_bytes();
        // Aligned data can be used in place by readers that map the file.
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut this = Self { file: AtomicFile::create(path)?, dtype, pending };
        this.put(&(text.len() as u64).to_le_bytes())?;
        this.put(&text)?;
        Ok(this)
    }

    /// Writes the values of the next declared tensor, which must be `name`.
    ///
    /// # Errors
    /// When it is not that tensor's turn, the count differs from its shape, a value does not fit
    /// half precision, or the disk is full.
    pub fn write(&mut self, name: &str, values: &[f32]) -> Result<(), WeightsError> {
        match self.pending.pop() {
            Some((next, count)) if next == name && count == values.len() => {}
            next => {
                return Err(WeightsError::Mismatch(format!(
                    "`{name}` with {} values was written where {next:?} was declared",
                    values.len()
                )));
            }
        }
        let mut bytes = Vec::with_capacity(1 << 18);
        for piece in values.chunks(1 << 16) {
            bytes.clear();
            match self.dtype {
                SaveDtype::F32 => bytes.extend(piece.iter().flat_map(|v| v.to_le_bytes())),
                SaveDtype::BF16 => {
                    bytes.extend(piece.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()));
                }
                SaveDtype::F16 => {
                    for value in piece {
                        let half = to_f16(*value).ok_or_else(|| {
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
            Some((name, _)) => Err(WeightsError::Mismatch(format!("`{name}` was not written"))),
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
    save_tensors_with_progress(path, source, dtype, metadata, false)
}

/// [`save_tensors`] with a progress bar.
pub(crate) fn save_tensors_with_progress(
    path: &Path,
    source: &dyn TensorSource,
    dtype: SaveDtype,
    metadata: &BTreeMap<String, String>,
    progress: bool,
) -> Result<(), WeightsError> {
    let tensors: Vec<_> =
        source.names().into_iter().filter_map(|name| source.info(&name).map(|info| (name, info.shape))).collect();
    let progress = Progress::steps(progress, "converting".to_string(), tensors.len());
    let mut writer = SafetensorsWriter::create(path, &tensors, dtype, metadata)?;
    for (name, _) in &tensors {
        writer.write(name, &source.read_f32(name)?)?;
        progress.add(1);
    }
    writer.finish()
}

fn json(value: &impl serde::Serialize, path: &Path) -> Result<serde_json::Value, WeightsError> {
    serde_json::to_value(value).map_err(std::io::Error::from).map_err(WeightsError::io("write", path))
}
