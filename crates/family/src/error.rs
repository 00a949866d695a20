//! What can go wrong with a model folder or a conversation.

use std::error::Error;
use std::path::PathBuf;

use safevlm_core::DeviceError;
use safevlm_core::fields::FieldError;
use safevlm_core::resize::ResizeError;
use safevlm_core::taxonomy::TaxonomyError;
use safevlm_nn::vlm::ImageCountError;
use safevlm_text::TextError;
use safevlm_vgm::VgmConfigError;
use safevlm_weights::WeightsError;
use thiserror::Error;

/// A model folder that cannot be used, or a conversation that does not fit its model.
#[derive(Debug, Error)]
pub enum FamilyError {
    /// A file cannot be read.
    #[error("{path}: cannot be read ({source}): give a model folder with a config.json")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path}: is no valid JSON ({source}): import the model again")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A part's configuration cannot be built.
    #[error(transparent)]
    Config(Box<dyn Error + Send + Sync>),
    /// A value of a JSON file.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The guard's keys.
    #[error(transparent)]
    Guard(#[from] VgmConfigError),
    /// The guard's labels.
    #[error(transparent)]
    Taxonomy(#[from] TaxonomyError),
    /// The tokenizer has no token that the model needs.
    #[error("the tokenizer has no token `{token}` with the id that config.json gives: import the model again")]
    Token {
        /// The token.
        token: &'static str,
    },
    /// More token ids than embeddings: some prompts would have no meaning.
    #[error(
        "the tokenizer has ids up to {ids} but the model {rows} embeddings: use the tokenizer that belongs to the checkpoint"
    )]
    Vocabulary {
        /// The greatest id.
        ids: usize,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// No device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Images that cannot become pixels.
    #[error(transparent)]
    Images(Box<dyn Error + Send + Sync>),
    /// An image that cannot be scaled.
    #[error(transparent)]
    Resize(#[from] ResizeError),
    /// Tokenizer or chat template.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The checkpoint.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A prompt in which not every image has its place.
    #[error("the prompt has {placeholders} image placeholders for {images} images: write one for each image")]
    Placeholders {
        /// Placeholders in the prompt.
        placeholders: usize,
        /// Images.
        images: usize,
    },
    /// An answer that cannot be told from what stands before it.
    #[error(
        "the chat template writes a conversation otherwise when it has been answered: use one that adds answers at the end"
    )]
    Answer,
    /// Visual tokens of the prompt and of the images.
    #[error(transparent)]
    ImageCount(#[from] ImageCountError),
}

impl FamilyError {
    /// A part's own configuration error.
    pub fn config(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Config(Box::new(error))
    }

    /// An image processor's own error.
    pub fn images(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Images(Box::new(error))
    }
}
