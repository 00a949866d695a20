//! What can go wrong while pictures and records are read, composed or written.

use std::io;
use std::path::{Path, PathBuf};

use safevlm_weights::WeightsError;

/// An error of this crate: one sentence that names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A name that is no split.
    #[error("there is no split `{text}`; say train or held_out")]
    UnknownSplit {
        /// The name as given.
        text: String,
    },

    /// A picture set could not be fetched.
    #[error("cannot fetch the picture set {package}: {source}")]
    Fetch {
        /// The npm package.
        package: &'static str,
        /// What the fetcher says.
        source: WeightsError,
    },

    /// A picture set's archive is not what its vendor publishes.
    #[error("{path} is not a usable picture set: {reason}; delete it and run again", path = path.display())]
    BadPack {
        /// The archive in the cache.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// One picture of a set cannot be drawn.
    #[error(
        "the picture `{symbol}` of {vendor} cannot be drawn: {reason}; delete the picture set from the cache and run again"
    )]
    BadPicture {
        /// The vendor's name.
        vendor: &'static str,
        /// The symbol's key.
        symbol: &'static str,
        /// What the decoder or rasteriser says.
        reason: String,
    },

    /// The loaded sets lack a symbol that a scene needs.
    #[error("no picture set of the split `{split}` has the symbol `{symbol}`; load the pinned sets whole")]
    NoPicture {
        /// The split.
        split: &'static str,
        /// The symbol's key.
        symbol: String,
    },

    /// The operating system refused to read or write.
    #[error("cannot {doing} {path}: {source}; check the path, its permissions and the free space", path = path.display())]
    Io {
        /// A verb: "read", "write", "create".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// A record that does not follow the format.
    #[error("{path}, row {row}: {reason}", path = path.display())]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
        /// The field and what is wrong with it.
        reason: String,
    },

    /// A file of rows that cannot be followed to its end.
    #[error("{path}, row {row}: {reason}; make the file again", path = path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
        /// What is wrong.
        reason: String,
    },

    /// A compressed archive, in which nothing can be found without unpacking it.
    #[error("{path} is compressed; unpack it with `gunzip`, or name the folder with its files", path = path.display())]
    PackedTar {
        /// The archive.
        path: PathBuf,
    },

    /// Another process writes to the file.
    #[error("{path} is being written by another run; wait for it, or name another file with `--out`", path = path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// A picture that a row names is not there.
    #[error("the picture {name} is not in {path}; name the folder or archive that has it with `--images`", path = path.display())]
    NoImage {
        /// The picture's path as the row has it.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },

    /// A picture could not be written.
    #[error("cannot write the picture {path}: {source}; check the folder and the free space", path = path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The encoder's error.
        source: image::ImageError,
    },

    /// The output folder holds something already.
    #[error("{path} is not empty; name a new folder, or remove it first", path = path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
}

impl DataError {
    /// Whether the user's input is at fault (exit status 2) rather than the run (exit status 1).
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::UnknownSplit { .. }
            | Self::BadRecord { .. }
            | Self::BadFile { .. }
            | Self::PackedTar { .. }
            | Self::Busy { .. }
            | Self::NoImage { .. }
            | Self::NotEmpty { .. } => true,
            Self::Io { doing: "read", source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Fetch { source, .. } => source.is_bad_input(),
            _ => false,
        }
    }

    /// Whether it is about one row only, so that the rows behind it can still be read.
    pub fn is_row(&self) -> bool {
        matches!(self, Self::BadRecord { .. })
    }

    /// Wraps an I/O error; `doing` is a verb such as "read".
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}
