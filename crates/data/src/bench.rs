//! Rows of a benchmark with their pictures.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::images::ImageStore;
use crate::json_rows::JsonRows;
use crate::parquet_rows::ParquetRows;
use crate::record::Record;

/// Reads the rows of a benchmark in HoliSafe-Bench's format, one after another: a million need no more memory
/// than one.
///
/// A row that breaks the format is an error with file, row and field that [`is_row`](DataError::is_row), and the rows
/// behind it can still be read. After any other error the iterator ends.
#[derive(Debug)]
pub struct BenchReader {
    source: Source,
    /// Files of a split that are still to be read.
    more: VecDeque<PathBuf>,
    images: Option<ImageStore>,
    beside: PathBuf,
}

#[derive(Debug)]
enum Source {
    Json(JsonRows<Record>, PathBuf),
    Parquet(ParquetRows),
}

/// One row, and how its picture is had.
#[derive(Debug, Clone)]
pub struct BenchRow {
    /// The row, which follows the format.
    pub record: Record,
    /// The encoded picture where the file embeds it.
    pub embedded: Option<Vec<u8>>,
}

impl BenchReader {
    /// Opens JSON lines, a JSON array, a Parquet file, or a folder with the Parquet files of one split. Pictures are
    /// embedded, or below `images` (a folder or an uncompressed tar), or else in the folder `images` beside the file.
    ///
    /// # Errors
    /// When something cannot be read, or a folder has no Parquet file.
    pub fn open(path: &Path, images: Option<&Path>) -> Result<Self, DataError> {
        let mut more = match path.is_dir() {
            true => parquet_files(path)?,
            false => VecDeque::from([path.to_path_buf()]),
        };
        let Some(first) = more.pop_front() else {
            let reason = "it has no Parquet file; name the benchmark's file".to_owned();
            return Err(DataError::BadFile { path: path.to_path_buf(), row: 0, reason });
        };
        let beside = first.parent().unwrap_or(Path::new("")).join("images");
        let images = match images {
            Some(images) => Some(ImageStore::open(images)?),
            // Rows with embedded pictures need none, and the others say what is missing.
            None => ImageStore::open(&beside).ok(),
        };
        Ok(Self { source: Source::open(&first)?, more, images, beside })
    }

    /// The pictures that are not embedded; none where they were not found.
    pub fn images(&self) -> Option<&ImageStore> {
        self.images.as_ref()
    }

    /// The encoded picture of a row.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn image(&self, row: &BenchRow) -> Result<Vec<u8>, DataError> {
        match (&row.embedded, &self.images) {
            (Some(bytes), _) => Ok(bytes.clone()),
            (None, Some(images)) => images.read(&row.record.image),
            (None, None) => Err(DataError::NoImage { name: row.record.image.clone(), path: self.beside.clone() }),
        }
    }
}

impl Source {
    fn open(path: &Path) -> Result<Self, DataError> {
        let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
        match is_parquet {
            true => ParquetRows::open(path).map(Self::Parquet),
            false => Ok(Self::Json(JsonRows::open(path)?, path.to_path_buf())),
        }
    }
}

/// The Parquet files directly in a folder, by name, as the hub numbers them.
fn parquet_files(folder: &Path) -> Result<VecDeque<PathBuf>, DataError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("read", folder))? {
        let path = entry.map_err(DataError::io("read", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files.into())
}

impl Iterator for BenchReader {
    type Item = Result<BenchRow, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (read, path, row) = match &mut self.source {
                Source::Json(rows, path) => {
                    (rows.next().map(|row| row.map(|record| (record, None))), path.as_path(), rows.row())
                }
                Source::Parquet(rows) => (rows.read(), rows.path(), rows.row()),
            };
            let Some(read) = read else {
                match Source::open(&self.more.pop_front()?) {
                    Ok(source) => self.source = source,
                    Err(error) => {
                        self.more.clear();
                        return Some(Err(error));
                    }
                }
                continue;
            };
            return Some(read.and_then(|(record, embedded)| match record.problem() {
                Some(reason) => Err(DataError::BadRecord { path: path.to_path_buf(), row, reason }),
                None => Ok(BenchRow { record, embedded }),
            }));
        }
    }
}
