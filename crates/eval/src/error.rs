//! What can go wrong, as one sentence with a remedy.

use std::path::PathBuf;

use safevlm::ImageError;
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
    /// A language model cannot be asked for judgements.
    #[error(transparent)]
    Llm(#[from] LlmError),
}

impl EvalError {
    /// Whether it is about one row's picture only.
    pub(crate) fn is_picture(&self) -> bool {
        matches!(self, Self::Picture { .. } | Self::Data(DataError::NoImage { .. }))
    }

    /// 2 for bad input or usage, 1 for a failure while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Model(error) => error.exit_code(),
            Self::Data(error) if error.is_bad_input() => 2,
            Self::Data(_) => 1,
            Self::Picture { .. } | Self::OtherSettings { .. } | Self::NotOurs { .. } | Self::BadPart { .. } => 2,
            Self::Llm(error) if error.is_bad_input() => 2,
            Self::Llm(_) => 1,
        }
    }
}
