//! Rows with answers, in the format of the official prediction files.

use std::path::{Path, PathBuf};

use safevlm::{FinishReason, Verdict};
use safevlm_data::{DataError, JsonRows, Record};
use serde::{Deserialize, Serialize};

/// A row of the benchmark with what a model said to it. Official files have the row and `prediction`; the
/// rest is ours, and absent in files of other systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The benchmark's row.
    #[serde(flatten)]
    pub record: Record,
    /// The model's answer.
    pub prediction: String,
    /// Why the answer ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// What the guard says about the picture, in the form of `safevlm guard --json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<Verdict>,
}

/// Reads a file of predictions, JSON lines or a JSON array, one after another.
#[derive(Debug)]
pub struct Predictions {
    path: PathBuf,
    rows: JsonRows<Prediction>,
}

impl Predictions {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Ok(Self { path: path.to_path_buf(), rows: JsonRows::open(path)? })
    }
}

impl Iterator for Predictions {
    type Item = Result<Prediction, DataError>;

    /// A row that breaks the format is an error with file, row and field.
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.rows.next()?;
        Some(read.and_then(|prediction| match prediction.record.problem() {
            Some(reason) => Err(DataError::BadRecord { path: self.path.clone(), row: self.rows.row(), reason }),
            None => Ok(prediction),
        }))
    }
}
