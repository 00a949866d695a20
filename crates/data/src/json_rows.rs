//! Rows of a JSON file, one after another: JSON lines, or one JSON array.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::DataError;

/// A row may have this many bytes: a question, an answer and a verdict have a few thousand.
const ROW_LIMIT: usize = 4 << 20;

/// Reads rows of type `T` without holding more than one of them.
///
/// After an error that [`is_row`](DataError::is_row) the next rows can still be read; after any other
/// the iterator ends.
#[derive(Debug)]
pub struct JsonRows<T> {
    path: PathBuf,
    reader: BufReader<File>,
    shape: Shape,
    /// Rows read so far.
    row: usize,
    buffer: Vec<u8>,
    row_type: PhantomData<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Lines,
    Array,
    Done,
}

impl<T: DeserializeOwned> JsonRows<T> {
    /// Opens the file; whether it is an array shows in its first character.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        let mut rows = Self {
            path: path.to_path_buf(),
            reader: BufReader::with_capacity(1 << 18, file),
            shape: Shape::Lines,
            row: 0,
            buffer: Vec::new(),
            row_type: PhantomData,
        };
        rows.skip_byte_order_mark()?;
        if rows.peek()? == Some(b'[') {
            rows.reader.consume(1);
            rows.shape = Shape::Array;
        }
        Ok(rows)
    }

    /// The row that was read last, counted from 1.
    pub fn row(&self) -> usize {
        self.row
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), DataError> {
        let start = self.reader.fill_buf().map_err(DataError::io("read", &self.path))?;
        if start.starts_with(b"\xEF\xBB\xBF") {
            self.reader.consume(3);
        }
        Ok(())
    }

    /// The next byte that is no white space, left where it is.
    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        loop {
            let ahead = self.reader.fill_buf().map_err(DataError::io("read", &self.path))?;
            if ahead.is_empty() {
                return Ok(None);
            }
            let found = ahead.iter().position(|byte| !byte.is_ascii_whitespace());
            let byte = found.map(|at| ahead[at]);
            let skipped = found.unwrap_or(ahead.len());
            self.reader.consume(skipped);
            if byte.is_some() {
                return Ok(byte);
            }
        }
    }

    fn bad(&self, reason: impl Into<String>) -> DataError {
        DataError::BadRecord { path: self.path.clone(), row: self.row, reason: reason.into() }
    }

    /// The file cannot be followed any further.
    fn broken(&mut self, reason: &str) -> DataError {
        self.shape = Shape::Done;
        DataError::BadFile { path: self.path.clone(), row: self.row, reason: reason.to_string() }
    }

    fn read(&mut self) -> Result<Option<T>, DataError> {
        self.buffer.clear();
        match self.shape {
            Shape::Done => return Ok(None),
            Shape::Lines => {
                if self.peek()?.is_none() {
                    self.shape = Shape::Done;
                    return Ok(None);
                }
                self.row += 1;
                self.line()?;
            }
            Shape::Array => {
                match self.peek()? {
                    Some(b']') => {
                        self.reader.consume(1);
                        return match self.peek()? {
                            None => {
                                self.shape = Shape::Done;
                                Ok(None)
                            }
                            Some(_) => Err(self.broken("there is something behind the array's end")),
                        };
                    }
                    Some(b',') if self.row > 0 => self.reader.consume(1),
                    Some(_) if self.row == 0 => {}
                    Some(_) => return Err(self.broken("a comma or the array's end is missing behind it")),
                    None => return Err(self.broken("the file ends inside the array; it was cut off")),
                }
                self.row += 1;
                self.element()?;
            }
        }
        serde_json::from_slice(&self.buffer).map(Some).map_err(|error| self.bad(error.to_string()))
    }

    /// Takes everything up to the line's end into the buffer.
    fn line(&mut self) -> Result<(), DataError> {
        loop {
            let ahead = self.reader.fill_buf().map_err(DataError::io("read", &self.path))?;
            let end = ahead.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(ahead.len());
            let last = end.is_some() || ahead.is_empty();
            if self.buffer.len() + taken > ROW_LIMIT {
                return Err(self.broken(&format!("the row has more than {ROW_LIMIT} bytes")));
            }
            self.buffer.extend_from_slice(&ahead[..taken]);
            self.reader.consume(taken + usize::from(end.is_some()));
            if last {
                return Ok(());
            }
        }
    }

    /// Takes one element of the array into the buffer: what it is, `serde_json` says later.
    fn element(&mut self) -> Result<(), DataError> {
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        loop {
            let ahead = self.reader.fill_buf().map_err(DataError::io("read", &self.path))?;
            if ahead.is_empty() {
                return Err(self.broken("the file ends inside it; it was cut off"));
            }
            let mut end = None;
            for (at, byte) in ahead.iter().enumerate() {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_string => escaped = true,
                    b'"' => in_string = !in_string,
                    _ if in_string => {}
                    b'{' | b'[' => depth += 1,
                    b',' | b']' if depth == 0 => {
                        end = Some(at);
                        break;
                    }
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            let taken = end.unwrap_or(ahead.len());
            if self.buffer.len() + taken > ROW_LIMIT {
                return Err(self.broken(&format!("the row has more than {ROW_LIMIT} bytes")));
            }
            self.buffer.extend_from_slice(&ahead[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

impl<T: DeserializeOwned> Iterator for JsonRows<T> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.as_ref().is_err_and(|error| !error.is_row()) {
            self.shape = Shape::Done;
        }
        read.transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Row {
        id: u32,
    }

    fn rows(text: &str) -> Vec<Result<u32, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.json");
        std::fs::write(&path, text).unwrap();
        let short = |error: DataError| error.to_string().rsplit_once("rows.json").unwrap().1.to_string();
        JsonRows::<Row>::open(&path).unwrap().map(|row| row.map(|row| row.id).map_err(short)).collect()
    }

    #[test]
    fn lines_and_arrays_give_the_same_rows() {
        let lines = "{\"id\": 1}\n\n  {\"id\": 2, \"text\": \"a, ]} \\\" b\"}\r\n";
        let array = "\u{FEFF} [{\"id\": 1},\n {\"id\":\n2, \"text\": \"a, ]} \\\" b\", \"more\": [{}]} ]\n";
        for text in [lines, array, lines.trim_end()] {
            assert_eq!(rows(text), [Ok(1), Ok(2)], "{text}");
        }
        assert_eq!(rows(""), []);
        assert_eq!(rows("[]"), []);
    }

    #[test]
    fn a_bad_row_is_named_and_the_next_is_read() {
        for text in ["{\"id\": 1}\n{\"id\": -2}\n{\"id\": 3}", "[{\"id\": 1}, {\"id\": -2}, {\"id\": 3}]"] {
            let rows = rows(text);
            assert_eq!((&rows[0], &rows[2]), (&Ok(1), &Ok(3)), "{text}");
            assert!(rows[1].as_ref().unwrap_err().starts_with(", row 2: invalid value"), "{:?}", rows[1]);
        }
    }

    #[test]
    fn a_file_that_cannot_be_followed_ends_there() {
        for (text, reason) in [
            ("[{\"id\": 1}", "the file ends inside"),
            ("[{\"id\": 1}, ", "the file ends inside"),
            ("[{\"id\": 1} ] 2", "behind the array's end"),
        ] {
            let rows = rows(text);
            assert!(rows.last().unwrap().as_ref().unwrap_err().contains(reason), "{text}: {rows:?}");
        }
        let endless = format!("[{}", "[".repeat(ROW_LIMIT + 1));
        let rows = rows(&endless);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].as_ref().unwrap_err().contains("has more than"));
    }
}
