//! What can go wrong between a source of weights and a loaded module.

use std::io;
use std::path::{Path, PathBuf};

use safevlm_kernels::quant::QuantError;

/// An error of this crate: one sentence that names the file or option and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A source string that cannot be understood.
    #[error(
        "cannot use the source `{text}`: {reason}; write pip:NAME==VERSION, npm:NAME@VERSION, hf:ORG/REPO[@REVISION] or a path"
    )]
    BadSource {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A file or folder that is not there.
    #[error("{path} does not exist: {remedy}", path = path.display())]
    NotFound {
        /// The path that was looked for.
        path: PathBuf,
        /// What to do about it.
        remedy: String,
    },

    /// The operating system refused to read or write.
    #[error("cannot {doing} {path}: {remedy}", path = path.display(), remedy = io_remedy(source))]
    Io {
        /// What was being done, as a verb: "read", "write", "create".
        doing: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// A file whose content is not what its format demands.
    #[error("{path} is not a usable {format} file: {reason}; fetch it again or export it anew", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that was expected.
        format: &'static str,
        /// The first rule that the content breaks.
        reason: String,
    },

    /// A well-formed file that uses something this crate does not support.
    #[error("{path} cannot be used: {reason}", path = path.display())]
    Unsupported {
        /// The file or folder.
        path: PathBuf,
        /// What is not supported, and what is.
        reason: String,
    },

    /// A file whose SHA-256 or size differs from the pinned one.
    #[error(
        "{path} is not the pinned file: expected {expected}, found {found}; delete it and fetch again, or correct the pin if the source changed on purpose",
        path = path.display()
    )]
    WrongHash {
        /// The file that was checked.
        path: PathBuf,
        /// The pinned SHA-256 (hex) or size.
        expected: String,
        /// What the file has.
        found: String,
    },

    /// A download that did not succeed.
    #[error("cannot download {what}: {reason}")]
    Download {
        /// The package, repository or file.
        what: String,
        /// Why, and what to do.
        reason: String,
    },

    /// A tensor that the checkpoint does not hold.
    #[error("{path} has no tensor `{name}`: it is not a checkpoint of this model, or its key map is wrong", path = path.display())]
    NoTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor's name.
        name: String,
    },

    /// An adapter that does not fit the checkpoint that it should be merged into.
    #[error(
        "the adapter {path} does not fit {base}: {reason}; use the base that the adapter was trained on",
        path = path.display(),
        base = base.display()
    )]
    Adapter {
        /// The adapter's file.
        path: PathBuf,
        /// The base checkpoint.
        base: PathBuf,
        /// The tensors that find no place or do not fit theirs.
        reason: String,
    },

    /// A model that is larger than the memory that is left.
    #[error("{path} needs {needed}, and {available} are free: {advice}", path = path.display())]
    TooLarge {
        /// The model folder.
        path: PathBuf,
        /// Bytes with their unit.
        needed: String,
        /// Bytes with their unit.
        available: String,
        /// What would make it fit.
        advice: String,
    },

    /// Values that are no numbers.
    #[error("{path} holds NaN or infinite values in {tensors}: fetch it again, or export it anew", path = path.display())]
    NotFinite {
        /// The checkpoint.
        path: PathBuf,
        /// The tensors, with their number.
        tensors: String,
    },

    /// A matrix that cannot be stored in blocks of few bits.
    #[error("`{name}` cannot be quantized: {source}")]
    Quantize {
        /// The matrix.
        name: String,
        /// Why.
        source: QuantError,
    },

    /// A checkpoint that does not fit the module.
    #[error("the checkpoint does not fit the model: {0}; use the checkpoint that belongs to this configuration")]
    Mismatch(String),
}

impl WeightsError {
    /// Whether the user's input is at fault (exit status 2) rather than the run (exit status 1).
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Download { .. })
    }

    /// Wraps an I/O error; `doing` is a verb such as "read".
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    /// A malformed file of `format`.
    pub(crate) fn malformed(path: &Path, format: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_path_buf(), format, reason: reason.into() }
    }

    /// A matrix that cannot be quantized.
    pub(crate) fn quantize(name: &str) -> impl FnOnce(QuantError) -> Self {
        let name = name.to_string();
        move |source| Self::Quantize { name, source }
    }

    /// A file that is fine but not supported.
    pub(crate) fn unsupported(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_path_buf(), reason: reason.into() }
    }
}

/// The operating system's words, followed by what usually helps.
fn io_remedy(error: &io::Error) -> String {
    use io::ErrorKind::*;
    let remedy = match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "there is no room: free some space, or set SAFEVLM_HOME or the output option to a folder on a larger disk"
        }
        ReadOnlyFilesystem | PermissionDenied | NotADirectory => {
            "set SAFEVLM_HOME or the output option to a folder that you may write, or correct the path or its permissions"
        }
        NotFound => "check the path",
        _ => return error.to_string(),
    };
    format!("{error} ({remedy})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_comes_with_its_remedy() {
        for (kind, part) in [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::QuotaExceeded, "free some space"),
            (io::ErrorKind::FileTooLarge, "free some space"),
            (io::ErrorKind::ReadOnlyFilesystem, "SAFEVLM_HOME"),
            (io::ErrorKind::PermissionDenied, "SAFEVLM_HOME"),
            (io::ErrorKind::NotADirectory, "SAFEVLM_HOME"),
            (io::ErrorKind::NotFound, "check the path"),
        ] {
            let error = WeightsError::io("write", Path::new("a/b"))(kind.into());
            assert!(!error.is_bad_input());
            let text = error.to_string();
            assert!(text.starts_with("cannot write a/b: ") && text.contains(part), "{text}");
        }
    }
}
