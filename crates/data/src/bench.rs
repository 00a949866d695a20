//! Rows of a benchmark with their pictures.

use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::images::ImageStore;
use crate::json_rows::JsonRows;
use crate::record::Record;

/// Reads the rows of a benchmark in HoliSafe-Bench's format, one after another.
#[derive(Debug)]
pub struct BenchReader {
    path: PathBuf,
    rows: JsonRows<Record>,
    row: usize,
    images: ImageStore,
}

/// One row, and how its picture is had.
#[derive(Debug, Clone)]
pub struct BenchRow {
    /// The row, which follows the format.
    pub record: Record,
    /// The encoded picture where the file embeds it; otherwise it is in [`BenchReader::images`].
    pub embedded: Option<Vec<u8>>,
}

impl BenchReader {
    /// Opens JSON lines or a JSON array. Pictures are below `images`, or else in the folder `images` beside the file.
    ///
    /// # Errors
    /// When the file or the pictures cannot be read.
    pub fn open(path: &Path, images: Option<&Path>) -> Result<Self, DataError> {
        let beside = || path.parent().unwrap_or(Path::new("")).join("images");
        let images = ImageStore::open(&images.map_or_else(beside, Path::to_path_buf))?;
        Ok(Self { path: path.to_path_buf(), rows: JsonRows::open(path)?, row: 0, images })
    }

    /// The pictures that are not embedded.
    pub fn images(&self) -> &ImageStore {
        &self.images
    }

    /// The encoded picture of a row.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn image(&self, row: &BenchRow) -> Result<Vec<u8>, DataError> {
        match &row.embedded {
            Some(bytes) => Ok(bytes.clone()),
            None => self.images.read(&row.record.image),
        }
    }
}

impl Iterator for BenchReader {
    type Item = Result<BenchRow, DataError>;

    /// A row that breaks the format is an error with file, row and field; the rows behind it can be read.
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.rows.next()?;
        self.row += 1;
        Some(read.and_then(|record| match record.problem() {
            Some(reason) => Err(DataError::BadRecord { path: self.path.clone(), row: self.row, reason }),
            None => Ok(BenchRow { record, embedded: None }),
        }))
    }
}
