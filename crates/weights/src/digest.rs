//! SHA-256 of files, and the comparison with a pin.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::WeightsError;

/// A running SHA-256 and the number of bytes that went into it.
#[derive(Default)]
pub(crate) struct Hasher {
    hash: Sha256,
    length: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// The lower-case hexadecimal hash and the number of bytes.
    pub(crate) fn finish(self) -> (String, u64) {
        (hex(&self.hash.finalize()), self.length)
    }
}

/// The SHA-256 (lower-case hexadecimal) and size of the file at `path`.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<(String, u64), WeightsError> {
    let mut file = File::open(path).map_err(WeightsError::io("read", path))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(WeightsError::io("read", path)(error)),
        }
    }
}

/// Compares what was found with what was pinned; a pin that is absent matches everything.
pub(crate) fn check_pin(
    path: &Path,
    found: (&str, u64),
    sha256: Option<&str>,
    size: Option<u64>,
) -> Result<(), WeightsError> {
    let wrong = |expected: String, found: String| WeightsError::WrongHash { path: path.to_path_buf(), expected, found };
    if let Some(size) = size
        && size != found.1
    {
        return Err(wrong(format!("{size} bytes"), format!("{} bytes", found.1)));
    }
    match sha256 {
        Some(sha256) if !sha256.eq_ignore_ascii_case(found.0) => {
            Err(wrong(format!("SHA-256 {sha256}"), found.0.to_string()))
        }
        _ => Ok(()),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_abc_is_the_published_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_file(&path).unwrap(), (abc.to_string(), 3));
        check_pin(&path, (abc, 3), Some(&abc.to_uppercase()), Some(3)).unwrap();
        assert!(check_pin(&path, (abc, 3), Some("00"), None).is_err());
        assert!(check_pin(&path, (abc, 3), None, Some(4)).is_err());
    }
}
