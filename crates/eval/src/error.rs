//! What can go wrong, as one sentence with a remedy.

use safevlm_data::DataError;
use thiserror::Error;

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
}

impl EvalError {
    /// 2 for bad input or usage, 1 for a failure while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Model(error) => error.exit_code(),
            Self::Data(error) if error.is_bad_input() => 2,
            Self::Data(_) => 1,
        }
    }
}
