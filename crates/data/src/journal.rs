//! A file of JSON lines that grows row by row and survives a kill at any moment.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::DataError;

/// An append-only file of JSON lines. Rows are on the disk when [`append`](Self::append) returns; a row
/// that a kill cut in two is removed when the file is opened again.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or creates the file, gives each whole line in it to `on_line`, and cuts off a torn last one.
    /// Only one process may have it open.
    ///
    /// # Errors
    /// When the file cannot be read or written, another process has it open, or `on_line` refuses a line.
    pub fn open(path: &Path, on_line: &mut dyn FnMut(usize, &str) -> Result<(), DataError>) -> Result<Self, DataError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).map_err(DataError::io("write", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(DataError::Busy { path: path.to_path_buf() }),
            // File systems without locks leave it to the user.
            Err(std::fs::TryLockError::Error(_)) => {}
        }
        let mut reader = BufReader::new(&file);
        let (mut whole, mut row) = (0, 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(DataError::io("read", path))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            row += 1;
            let bad = |reason: &str| DataError::BadRecord { path: path.to_path_buf(), row, reason: reason.to_string() };
            on_line(row, std::str::from_utf8(&line).map_err(|_| bad("it is not UTF-8"))?.trim_end())?;
            whole += read as u64;
        }
        let mut journal = Self { path: path.to_path_buf(), file };
        journal.cut(whole).map_err(DataError::io("write", path))?;
        Ok(journal)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        if self.file.metadata()?.len() > length {
            self.file.set_len(length)?;
            self.file.sync_all()?;
        }
        self.file.seek(SeekFrom::End(0)).map(|_| ())
    }

    /// Writes rows and waits until the disk has them.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append<T: Serialize>(&mut self, rows: &[T]) -> Result<(), DataError> {
        let mut lines = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut lines, row).map_err(|e| DataError::io("write", &self.path)(e.into()))?;
            lines.push(b'\n');
        }
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        written.map_err(DataError::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(path: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        Journal::open(path, &mut |_, line| {
            lines.push(line.to_string());
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        Journal::open(&path, &mut |_, _| Ok(())).unwrap().append(&["one", "two", "three"]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..=whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let rows = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines_of(&path).len(), rows);
            let rest = ["one", "two", "three"];
            Journal::open(&path, &mut |_, _| Ok(())).unwrap().append(&rest[rows..]).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {end}");
        }
    }

    #[test]
    fn two_writers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let first = Journal::open(&path, &mut |_, _| Ok(())).unwrap();
        assert!(matches!(Journal::open(&path, &mut |_, _| Ok(())), Err(DataError::Busy { .. })));
        drop(first);
        Journal::open(&path, &mut |_, _| Ok(())).unwrap();
    }
}
