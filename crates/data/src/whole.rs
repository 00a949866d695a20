//! Files that appear whole or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::DataError;

/// Writes a file beside `path`, flushes it to the disk, and puts it in `path`'s place.
///
/// # Errors
/// When the disk or `content` refuses; then `path` is as it was.
pub fn write_whole(
    path: &Path,
    content: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
    let mut aside = tempfile::Builder::new();
    aside.prefix(".safevlm-").suffix(".partial");
    #[cfg(unix)]
    aside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = aside.tempfile_in(folder).map_err(DataError::io("write", path))?;
    let mut out = BufWriter::new(file.as_file_mut());
    content(&mut out)?;
    let flushed = out.flush().and_then(|()| out.get_ref().sync_all());
    drop(out);
    flushed.map_err(DataError::io("write", path))?;
    file.persist(path).map_err(|error| DataError::io("write", path)(io::Error::from(error)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file.txt");
        let write = |text: &'static str| {
            write_whole(&path, |out| out.write_all(text.as_bytes()).map_err(DataError::io("write", &path)))
        };
        write("one").unwrap();
        write("two").unwrap();
        let failed = write_whole(&path, |out| {
            out.write_all(b"three").map_err(DataError::io("write", &path))?;
            Err(DataError::NotEmpty { path: path.clone() })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }
}
