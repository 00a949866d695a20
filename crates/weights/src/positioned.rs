//! Reads at given places of a file, in small pieces or into place: the page cache is the only other copy.
//!
//! Nothing is memory-mapped: a mapped file that somebody shortens ends the program that reads it, without a word.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use safevlm_kernels::quant::QuantizedMatrix;

use crate::error::WeightsError;
use crate::gguf::GgmlType;

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// An open file of known length.
#[derive(Debug)]
pub(crate) struct PositionedFile {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    file: File,
}

impl PositionedFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let open = || {
            let file = File::open(path)?;
            let meta = file.metadata()?;
            Ok((file, meta))
        };
        let (file, meta) = open().map_err(WeightsError::io("read", path))?;
        if !meta.is_file() {
            return Err(WeightsError::unsupported(path, "it is not a regular file"));
        }
        Ok(Self { path: path.to_path_buf(), length: meta.len(), file })
    }

    /// Fills `buffer` from `offset`.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), WeightsError> {
        read_exact_at(&self.file, buffer, offset).map_err(WeightsError::io("read", &self.path))
    }

    /// [`read_exact_at`](Self::read_exact_at) by several threads where there is much to read.
    pub(crate) fn read_large(&self, buffer: &mut [u8], offset: u64) -> Result<(), WeightsError> {
        let parts = buffer.par_chunks_mut(CHUNK).enumerate();
        parts.try_for_each(|(nth, part)| self.read_exact_at(part, offset + (nth * CHUNK) as u64))
    }

    /// The matrix of `shape` whose blocks begin at `offset`; none if it is no matrix, or is stored in no blocks that
    /// a CPU multiplies as they are.
    pub(crate) fn read_blocks(
        &self,
        kind: GgmlType,
        shape: &[usize],
        offset: u64,
        name: &str,
    ) -> Result<Option<QuantizedMatrix>, WeightsError> {
        let (Some(format), [rows, columns]) = (kind.format(), shape) else { return Ok(None) };
        let wrong = |error| WeightsError::unsupported(&self.path, format!("tensor `{name}`: {error}"));
        let length = format.row_bytes(*columns).map_err(wrong)?.saturating_mul(*rows);
        // What the file does not have is not asked of the memory.
        if length as u64 > self.length.saturating_sub(offset) {
            return Err(WeightsError::unsupported(&self.path, format!("tensor `{name}` is cut off: fetch it again")));
        }
        let mut bytes = vec![0; length];
        self.read_large(&mut bytes, offset)?;
        QuantizedMatrix::new(format, *rows, *columns, Arc::new(bytes), 0).map(Some).map_err(wrong)
    }

    /// Hands the `length` bytes from `offset` to `take` in pieces that are multiples of `unit`
    /// bytes. `length` is a multiple of `unit`.
    pub(crate) fn read_pieces(
        &self,
        offset: u64,
        length: usize,
        unit: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), WeightsError>,
    ) -> Result<(), WeightsError> {
        let piece = (CHUNK / unit).max(1) * unit;
        let mut buffer = vec![0; piece.min(length)];
        let mut done = 0;
        while done < length {
            let count = piece.min(length - done);
            self.read_exact_at(&mut buffer[..count], offset + done as u64)?;
            take(&buffer[..count])?;
            done += count;
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

/// Reads a [`PositionedFile`] from its beginning on.
pub(crate) struct Sequential<'a> {
    file: &'a PositionedFile,
    position: u64,
}

impl<'a> Sequential<'a> {
    pub(crate) fn new(file: &'a PositionedFile) -> Self {
        Self { file, position: 0 }
    }
}

impl io::Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.length.saturating_sub(self.position);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        read_exact_at(&self.file.file, &mut buffer[..count], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
