//! A weight in its stored form.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::group::dequantize;
use super::{BlockFormat, QuantError};

/// Who owns a weight's bytes: a `Vec<u8>`, a memory map, or whatever else lends them.
pub type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A weight of `rows` outputs and `columns` inputs whose bytes are used as they are stored.
///
/// Rows lie one after the other, without padding, at any alignment. Clones share the bytes.
#[derive(Clone)]
pub struct QuantizedMatrix {
    format: BlockFormat,
    rows: usize,
    columns: usize,
    owner: Owner,
    offset: usize,
    row_bytes: usize,
}

impl QuantizedMatrix {
    /// The weight whose bytes begin at `offset` of the owner's; bytes after its end are not looked at.
    ///
    /// # Errors
    /// If a row is no whole number of blocks, or the bytes end before the weight does.
    pub fn new(
        format: BlockFormat,
        rows: usize,
        columns: usize,
        owner: Owner,
        offset: usize,
    ) -> Result<Self, QuantError> {
        let row_bytes = format.row_bytes(columns)?;
        let too_large = QuantError::TooLarge { rows, columns };
        rows.checked_mul(columns).ok_or(too_large.clone())?;
        let expected = rows.checked_mul(row_bytes).ok_or(too_large)?;
        let found = (*owner).as_ref().len().saturating_sub(offset);
        if found < expected {
            return Err(QuantError::TooFewBytes { format, rows, columns, expected, found });
        }
        Ok(Self { format, rows, columns, owner, offset, row_bytes })
    }

    /// [`quantize`](super::quantize)s whole rows of `columns` values into a weight of its own bytes.
    ///
    /// # Errors
    /// As [`quantize`](super::quantize).
    pub fn quantize(format: BlockFormat, values: &[f32], columns: usize) -> Result<Self, QuantError> {
        let bytes = super::quantize(format, values, columns)?;
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self::new(format, rows, columns, Arc::new(bytes), 0)
    }

    /// How the values are stored.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes that the weight has.
    pub fn size(&self) -> usize {
        self.rows * self.row_bytes
    }

    /// The stored bytes, row after row.
    pub fn bytes(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.offset..][..self.size()]
    }

    /// Bytes of one row.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Writes one row's values to `out`, which has room for exactly these.
    ///
    /// # Panics
    /// If there is no such row, or `out` has another length.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        self.dequantize_rows(row..row + 1, out);
    }

    /// Writes the values of some rows, one after the other, to `out`, which has room for exactly these.
    ///
    /// # Panics
    /// If there are no such rows, or `out` has another length.
    pub fn dequantize_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        assert_eq!(out.len(), rows.len() * self.columns, "the values of {} rows of {}", rows.len(), self.columns);
        dequantize(self.format, &self.bytes()[rows.start * self.row_bytes..rows.end * self.row_bytes], out);
    }

    /// The values of all rows.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut values = vec![0.; self.rows * self.columns];
        self.dequantize_rows(0..self.rows, &mut values);
        values
    }

    /// Writes the rows with these numbers to `out`: an embedding.
    ///
    /// # Shapes
    /// `out`: `[rows, columns]`.
    ///
    /// # Errors
    /// If there is no such row.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), QuantError> {
        assert_eq!(out.len(), rows.len() * self.columns, "the values of {} rows of {}", rows.len(), self.columns);
        if let Some(row) = rows.iter().find(|row| **row >= self.rows) {
            return Err(QuantError::NoRow { row: *row, rows: self.rows });
        }
        if self.columns > 0 {
            rows.iter().zip(out.chunks_exact_mut(self.columns)).for_each(|(row, out)| self.dequantize_row(*row, out));
        }
        Ok(())
    }
}

impl fmt::Debug for QuantizedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuantizedMatrix({}, {} x {})", self.format, self.rows, self.columns)
    }
}
