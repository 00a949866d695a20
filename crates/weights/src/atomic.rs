//! Files that appear whole or not at all: written aside, flushed to the disk, then renamed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cache::create_dir;
use crate::error::WeightsError;

/// A file that becomes visible at its path only with [`AtomicFile::commit`]; dropped before that,
/// it leaves nothing. What a killed process left beside the path is swept by the next writer.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    target: PathBuf,
    aside: PathBuf,
    /// `Some` until the file is committed or dropped.
    file: Option<File>,
}

impl AtomicFile {
    /// Starts a file that will replace `target`; makes the folder when it is missing.
    pub(crate) fn create(target: &Path) -> Result<Self, WeightsError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = parent(target);
        create_dir(folder)?;
        sweep(target);
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut name = aside_prefix(target);
        name.push(unique);
        name.push(".partial");
        let aside = folder.join(name);
        let file =
            OpenOptions::new().write(true).create_new(true).open(&aside).map_err(WeightsError::io("create", &aside))?;
        // Held while this process lives: it tells `sweep` that the file has an owner. A file
        // system without locks only loses the sweeping.
        let _ = file.try_lock();
        Ok(Self { target: target.to_path_buf(), aside, file: Some(file) })
    }

    /// The file being written; it has no path that others may rely on.
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        Writer(self)
    }

    /// Maps an error of writing to this file, naming the path the user knows.
    pub(crate) fn error(&self, source: io::Error) -> WeightsError {
        WeightsError::io("write", &self.target)(source)
    }

    /// Makes the file durable, then visible.
    pub(crate) fn commit(mut self) -> Result<(), WeightsError> {
        if let Some(file) = self.file.take() {
            let done = file.sync_all().and_then(|()| {
                // Windows refuses to rename a file that is open.
                drop(file);
                fs::rename(&self.aside, &self.target)
            });
            if let Err(error) = done {
                let _ = fs::remove_file(&self.aside);
                return Err(self.error(error));
            }
        }
        sync_dir(parent(&self.target));
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.aside);
        }
    }
}

/// Writes to an [`AtomicFile`].
pub(crate) struct Writer<'a>(&'a mut AtomicFile);

impl Write for Writer<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &mut self.0.file {
            Some(file) => file.write(buffer),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `content` to `target`, whole or not at all.
pub(crate) fn write_file(target: &Path, content: &[u8]) -> Result<(), WeightsError> {
    let mut file = AtomicFile::create(target)?;
    if let Err(error) = file.writer().write_all(content) {
        return Err(file.error(error));
    }
    file.commit()
}

/// Makes a rename in `dir` durable. Some systems cannot flush a folder; the rename is then as
/// durable as that system makes it.
pub(crate) fn sync_dir(dir: &Path) {
    if cfg!(unix)
        && let Ok(dir) = File::open(dir)
    {
        let _ = dir.sync_all();
    }
}

/// Flushes a file that another program wrote.
pub(crate) fn sync_file(path: &Path) -> Result<(), WeightsError> {
    // Windows flushes only handles that may write.
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(WeightsError::io("write", path))
}

/// The folder of `path`, `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What the names of all unfinished versions of `target` begin with.
fn aside_prefix(target: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".");
    name
}

/// Removes unfinished versions of `target` whose writers are dead.
fn sweep(target: &Path) {
    let prefix = aside_prefix(target);
    let Ok(entries) = fs::read_dir(parent(target)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes())
            && name.ends_with(b".partial")
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_invisible_until_committed_and_gone_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("sub/a.bin");
        let mut file = AtomicFile::create(&target).unwrap();
        file.writer().write_all(b"one").unwrap();
        assert!(!target.exists());
        drop(file);
        assert!(names(&dir.path().join("sub")).is_empty());

        write_file(&target, b"two").unwrap();
        write_file(&target, b"three").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"three");
        assert_eq!(names(&dir.path().join("sub")), ["a.bin"]);
    }

    #[test]
    fn what_a_dead_writer_left_is_swept_and_a_living_writer_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.bin");
        fs::write(dir.path().join(".a.bin.1-0.partial"), b"left over").unwrap();
        fs::write(dir.path().join(".ab.bin.1-0.partial"), b"not ours").unwrap();
        let first = AtomicFile::create(&target).unwrap();
        let second = AtomicFile::create(&target).unwrap();
        assert_eq!(names(dir.path()).len(), 3);
        second.commit().unwrap();
        first.commit().unwrap();
        assert_eq!(names(dir.path()), [".ab.bin.1-0.partial", "a.bin"]);
    }
}
