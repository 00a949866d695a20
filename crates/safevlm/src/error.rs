//! Everything that can go wrong, as one sentence with a remedy.

use std::path::PathBuf;

use safevlm_core::{DeviceError, ImageError, VerdictError};
use safevlm_family::FamilyError;
use safevlm_nn::{SamplerError, vlm::ImageCountError};
use safevlm_safe_smol::SafeSmolError;
use safevlm_text::TextError;
use safevlm_weights::WeightsError;
use thiserror::Error;

/// An error of the facade.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what each variant means")]
pub enum Error {
    #[error(
        "no model is called `{name}`{near}: `safevlm models` lists them, and a folder with a config.json works too"
    )]
    UnknownModel { name: String, near: String },
    #[error("the model `{name}` is not installed: run `cargo xtask import-weights {name}` or `safevlm import {name}`")]
    NotInstalled { name: String },
    #[error("{path}: model_type is {found}, but this build knows {known}")]
    UnknownFamily { path: PathBuf, found: String, known: String },
    #[error("no published size is called `{name}`: choose one of {names}")]
    UnknownPreset { name: String, names: String },
    #[error("the guard head {head} cannot be joined to {base}: {reason}; use a head that was trained on this base")]
    AttachGuard { head: PathBuf, base: PathBuf, reason: String },
    #[error("{path}: cannot be written ({source}): free disk space, or set SAFEVLM_HOME to another folder")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the prompt has {prompt} tokens, but the model's context ends at {context}: shorten the conversation")]
    ContextLength { prompt: usize, context: usize },
    #[error("max_new_tokens is 0: ask for at least one token")]
    NoTokens,
    #[error("`{name}` sees no images: leave the images out, or use a vision-language model such as safe-smol")]
    NoVision { name: String },
    #[error("`{name}` has no guard head: use a Safe-VLM such as safe-smol")]
    NoGuard { name: String },
    #[error("no heat map can be made with `{name}`: {reason}; leave it out, or use another Safe-VLM such as safe-smol")]
    NoHeatmap { name: String, reason: String },
    #[error("the prompt is empty: ask something or show an image")]
    EmptyPrompt,
    #[error("{id} is no token id of this model: its ids go from 0 to {}", vocabulary - 1)]
    UnknownToken { id: u32, vocabulary: usize },
    #[error("the device failed while running ({0}): try `--device flex`")]
    Device(String),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    OpenDevice(#[from] DeviceError),
    #[error(transparent)]
    Verdict(#[from] VerdictError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    SafeSmol(#[from] SafeSmolError),
    #[error(transparent)]
    Family(#[from] FamilyError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Sampler(#[from] SamplerError),
}

impl From<ImageCountError> for Error {
    fn from(error: ImageCountError) -> Self {
        Self::Family(error.into())
    }
}

impl Error {
    /// 2 for bad input or usage, 1 for a failure while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Device(_) | Error::Verdict(_) | Error::Sampler(SamplerError::NotFinite) => 1,
            Error::Weights(error)
            | Error::SafeSmol(SafeSmolError::Weights(error))
            | Error::Family(FamilyError::Weights(error))
                if !error.is_bad_input() =>
            {
                1
            }
            _ => 2,
        }
    }
}
