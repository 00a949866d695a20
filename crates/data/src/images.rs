//! Where the pictures of rows are.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// A picture's file may have this many bytes.
const FILE_LIMIT: u64 = 64 << 20;

/// Pictures by their names in rows.
#[derive(Debug)]
pub enum ImageStore {
    /// Files below a folder.
    Folder(PathBuf),
}

impl ImageStore {
    /// Opens a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        std::fs::read_dir(path).map_err(DataError::io("read", path))?;
        Ok(Self::Folder(path.to_path_buf()))
    }

    /// The bytes of the picture that a row calls `name`.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is larger than any picture should be.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, DataError> {
        let Self::Folder(folder) = self;
        let path = folder.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(DataError::NoImage { name: name.to_string(), path: folder.clone() });
            }
            Err(error) => return Err(DataError::io("read", &path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(DataError::io("read", &path))?;
        if bytes.len() as u64 > FILE_LIMIT {
            let reason = std::io::Error::other(format!("it has more than {FILE_LIMIT} bytes"));
            return Err(DataError::io("read", &path)(reason));
        }
        Ok(bytes)
    }
}
