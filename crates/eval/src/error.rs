//! What can go wrong, as one sentence with a remedy.

use std::path::PathBuf;

use safevlm::{ImageError, VerdictError};
use safevlm_data::DataError;
use thiserror::Error;

use crate::judge::LlmError;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] safevlm::Error),
    /// Rows or pictures cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A row's picture cannot be decoded.
    #[error("the picture {name} of row {id} cannot be used: {source}")]
    Picture {
        /// The row.
        id: u64,
        /// The picture's path as the row has it.
        name: String,
        /// What the decoder says.
        source: ImageError,
    },
    /// Something about one of several files.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What does not name it.
        source: Box<EvalError>,
    },
    /// A file of predictions without any.
    #[error("{path} has no rows; give a file of predictions", path = path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// A report's file whose ending says no form.
    #[error("{path} does not say what to write; let `--out` end in .html, .md or .csv", path = path.display())]
    ReportFormat {
        /// The file.
        path: PathBuf,
    },
    /// A file that a run would append to was made with other settings.
    #[error(
        "{path} was made with other settings: `{setting}` was {old} and would be {new}; \
         go back to the old one, or name another file with `--out`",
        path = path.display()
    )]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// The first setting that differs.
        setting: String,
        /// In the file.
        old: String,
        /// In this run.
        new: String,
    },
    /// A file that a run would append to does not come from one.
    #[error("{path} has no .run.json beside it, so it is not known how it was made; name another file with `--out`", path = path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A part that cannot be merged.
    #[error("{path} {what}; give each finished part of one benchmark once", path = path.display())]
    BadPart {
        /// The part.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Two rows with one id.
    #[error("the id {id} occurs twice; leave one of its rows out, since each would count")]
    DuplicateId {
        /// The id.
        id: u64,
    },
    /// A row whose subcategory is none of the benchmark's.
    #[error("row {id} has the subcategory `{subcategory}`, which is not one of the 19 classes; correct it")]
    UnknownSubcategory {
        /// The row.
        id: u64,
        /// As the row has it.
        subcategory: String,
    },
    /// The guard's labels cannot be scored.
    #[error("the labels in `safety` of row {id} {reason}")]
    BadLabels {
        /// The row.
        id: u64,
        /// What is wrong with them, and the remedy.
        reason: String,
    },
    /// Thresholds cannot be chosen.
    #[error(
        "thresholds need rows with the guard's probabilities, `safety`, both to choose on and to judge on: predict both files with a model that has a guard"
    )]
    NothingToCalibrate,
    /// The guard's probabilities are none.
    #[error("the `safety` of row {id} cannot be scored: {source}")]
    BadVerdict {
        /// The row.
        id: u64,
        /// What is wrong with it.
        source: VerdictError,
    },
    /// Rows were flagged at different thresholds.
    #[error("row {id} was flagged at {threshold} and rows before it at {before}; say which to use with `--threshold`")]
    MixedThresholds {
        /// The row.
        id: u64,
        /// Its threshold.
        threshold: f32,
        /// That of the rows before.
        before: f32,
    },
    /// A judge left rows out.
    #[error("the judge {judge} gave {found} judgements on {rows} rows; use another one")]
    JudgementsMissing {
        /// The judge.
        judge: String,
        /// Judgements.
        found: usize,
        /// Rows.
        rows: usize,
    },
    /// Two runs are not of one benchmark.
    #[error("row {id} is {first} in one file and {second} in the other; compare runs of one benchmark")]
    OtherCombination {
        /// The row.
        id: u64,
        /// Its combination in the first run.
        first: &'static str,
        /// And in the second.
        second: &'static str,
    },
    /// A language model cannot be asked for judgements.
    #[error(transparent)]
    Llm(#[from] LlmError),
}

impl EvalError {
    /// Whether it is about one row's picture only.
    pub(crate) fn is_picture(&self) -> bool {
        matches!(self, Self::Picture { .. } | Self::Data(DataError::NoImage { .. }))
    }

    /// Whether it is about a row of a file that it does not name.
    pub fn is_row(&self) -> bool {
        matches!(
            self,
            Self::DuplicateId { .. }
                | Self::UnknownSubcategory { .. }
                | Self::BadLabels { .. }
                | Self::BadVerdict { .. }
                | Self::MixedThresholds { .. }
        )
    }

    /// 2 for bad input or usage, 1 for a failure while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Model(error) => error.exit_code(),
            Self::Data(error) if error.is_bad_input() => 2,
            Self::Data(_) => 1,
            Self::InFile { source, .. } => source.exit_code(),
            Self::ReportFormat { .. } | Self::NoRows { .. } => 2,
            Self::JudgementsMissing { .. } => 1,
            Self::Picture { .. } | Self::OtherSettings { .. } | Self::NotOurs { .. } | Self::BadPart { .. } => 2,
            Self::DuplicateId { .. } | Self::UnknownSubcategory { .. } | Self::OtherCombination { .. } => 2,
            Self::BadLabels { .. } | Self::BadVerdict { .. } | Self::MixedThresholds { .. } => 2,
            Self::NothingToCalibrate => 2,
            Self::Llm(error) if error.is_bad_input() => 2,
            Self::Llm(_) => 1,
        }
    }
}
