//! What can go wrong with a model folder's text files.

use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use crate::sentencepiece::SentencePieceError;

/// A tokenizer or chat template that cannot be used.
#[derive(Debug, Error)]
pub enum TextError {
    /// A file of the model folder is missing or unreadable.
    #[error("{path}: cannot be read ({source}): import the model again")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is larger than any real one.
    #[error("{path}: {size} bytes are more than the {limit} allowed for this file: import the model again")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// `tokenizer.json` is damaged.
    #[error("{path}: is no tokenizer ({reason}): import the model again")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library says.
        reason: String,
    },
    /// `tokenizer.model` is damaged, or of a kind whose ids would come out wrong.
    #[error(
        "{path}: is no SentencePiece model for this program ({source}): import the model again, with its tokenizer.json"
    )]
    SentencePiece {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SentencePieceError,
    },
    /// Text that the tokenizer refuses.
    #[error("the text cannot be tokenized ({0})")]
    Encode(String),
    /// A prompt in which not every image has its place.
    #[error(
        "the model's chat template writes {placeholder} {found} times for {expected} images: show images in user turns only, or mend chat_template.jinja"
    )]
    Images {
        /// What stands for an image.
        placeholder: String,
        /// Images of the conversation.
        expected: usize,
        /// Placeholders of the prompt.
        found: usize,
    },
    /// The template is damaged, or refuses the conversation (two user turns in a row, say).
    #[error(
        "the model's chat template refuses this conversation ({0}): alternate user and assistant turns, or mend chat_template.jinja"
    )]
    Template(#[from] minijinja::Error),
}

/// Reads a file of a model folder, but no more than `limit` bytes of it.
pub(crate) fn read_limited_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, TextError> {
    let read = |source| TextError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > limit {
        return Err(TextError::TooLarge { path: path.to_owned(), size, limit });
    }
    std::fs::read(path).map_err(read)
}

/// The same for a text file.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<String, TextError> {
    let source = |e| std::io::Error::new(std::io::ErrorKind::InvalidData, e);
    String::from_utf8(read_limited_bytes(path, limit)?)
        .map_err(|e| TextError::Read { path: path.to_owned(), source: source(e) })
}

/// The same for a JSON file.
pub(crate) fn read_json(path: &Path, limit: u64) -> Result<Value, TextError> {
    serde_json::from_str(&read_limited(path, limit)?)
        .map_err(|e| TextError::Tokenizer { path: path.to_owned(), reason: e.to_string() })
}
