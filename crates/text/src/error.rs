//! What can go wrong with a model folder's text files.

use std::path::PathBuf;

use thiserror::Error;

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
    /// Text that the tokenizer refuses.
    #[error("the text cannot be tokenized ({0})")]
    Encode(String),
    /// The template is damaged, or refuses the conversation (two user turns in a row, say).
    #[error(
        "the model's chat template refuses this conversation ({0}): alternate user and assistant turns, or mend chat_template.jinja"
    )]
    Template(#[from] minijinja::Error),
}

/// Reads a text file of a model folder, but no more than `limit` bytes of it.
pub(crate) fn read_limited(path: &std::path::Path, limit: u64) -> Result<String, TextError> {
    let read = |source| TextError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > limit {
        return Err(TextError::TooLarge { path: path.to_owned(), size, limit });
    }
    std::fs::read_to_string(path).map_err(read)
}
