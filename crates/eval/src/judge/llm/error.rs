//! Why a language model cannot be asked for judgements.

use std::path::PathBuf;

use thiserror::Error;

/// An error of the judge `llm`: one sentence that names the remedy. None ever holds a key, and addresses are
/// shown without their query.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LlmError {
    /// The address cannot be used. It is not shown: a key may have been pasted into it.
    #[error("the judge's address {reason}; give one such as https://api.openai.com/v1 with `--judge-url`")]
    BadUrl {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// No header can carry the key.
    #[error("the key in {variable} is empty or has spaces or control characters in it; set {variable} again")]
    BadKey {
        /// The environment variable.
        variable: String,
    },

    /// A prompt without a place for one of the fields.
    #[error("the judge's prompt lacks {placeholder}; it needs {{query}}, {{safety_label}} and {{response}}")]
    BadPrompt {
        /// The placeholder.
        placeholder: &'static str,
    },

    /// A picture that a row names is not there.
    #[error(
        "the picture {name} of row {id} is not there; name the folder or tar that has it with `--judge-images`, or judge by the text alone with `--judge-without-images`"
    )]
    NoPicture {
        /// The row's id.
        id: u64,
        /// The picture's path as the row has it.
        name: String,
    },

    /// Another process writes to the cache.
    #[error("{path} is being written by another run; wait for it, or name another file with `--judge-cache`", path = path.display())]
    CacheBusy {
        /// The cache.
        path: PathBuf,
    },

    /// Nothing answers at the address.
    #[error("{endpoint} cannot be reached ({reason}); check `--judge-url`, the network and proxy settings")]
    Unreachable {
        /// The address.
        endpoint: String,
        /// What failed.
        reason: String,
    },

    /// The endpoint wants a key and was given none.
    #[error(
        "{endpoint} wants a key (HTTP {status}); put it into an environment variable and name that with `--judge-key-env`"
    )]
    NoKey {
        /// The address.
        endpoint: String,
        /// The status.
        status: u16,
    },

    /// The endpoint does not accept the key.
    #[error("{endpoint} refuses the key in {variable} (HTTP {status}{says}); check it, and that it may use the model")]
    KeyRefused {
        /// The address.
        endpoint: String,
        /// The environment variable.
        variable: String,
        /// The status.
        status: u16,
        /// The endpoint's words, behind a comma.
        says: String,
    },

    /// The account is spent; waiting does not help.
    #[error("the account at {endpoint} is spent (HTTP {status}{says}); top it up, and run again to go on")]
    Spent {
        /// The address.
        endpoint: String,
        /// The status.
        status: u16,
        /// The endpoint's words, behind a comma.
        says: String,
    },

    /// The endpoint does not want the request, and would not want it again.
    #[error("{endpoint} refuses the request (HTTP {status}{says}); check `--judge-url` and `--judge-model`")]
    Refused {
        /// The address.
        endpoint: String,
        /// The status.
        status: u16,
        /// The endpoint's words, behind a comma.
        says: String,
    },

    /// All attempts failed.
    #[error("row {id} has no judgement after {attempts} attempts, the last of which failed because {reason}; {remedy}")]
    GaveUp {
        /// The row's id.
        id: u64,
        /// Requests that were sent.
        attempts: usize,
        /// Why the last one failed.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl LlmError {
    /// Whether the user's input is at fault (exit status 2) rather than the run (exit status 1).
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::Spent { .. } | Self::GaveUp { .. })
    }
}
