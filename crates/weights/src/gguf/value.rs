//! Metadata values, read with every count checked against what is left of the file.

use std::io::{BufReader, Read};

use crate::error::WeightsError;
use crate::positioned::{PositionedFile, Sequential};

/// Ten times the header of the largest vocabularies; one beyond it is a mistake or an attack.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// The format's limit on the length of a key or a tensor's name.
pub(super) const MAX_NAME_BYTES: u64 = 65_535;

/// A metadata value. Integers keep their value whatever their stored width.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned or signed integer.
    Integer(i128),
    /// A single or double.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// UTF-8 text.
    String(String),
    /// Integers of any width.
    Integers(Vec<i64>),
    /// Singles or doubles.
    Floats(Vec<f32>),
    /// Booleans.
    Bools(Vec<bool>),
    /// Texts.
    Strings(Vec<String>),
}

/// Reads the header's parts from the beginning of the file on.
pub(super) struct HeaderReader<'a> {
    file: &'a PositionedFile,
    reader: BufReader<Sequential<'a>>,
    position: u64,
}

impl<'a> HeaderReader<'a> {
    pub(super) fn new(file: &'a PositionedFile) -> Self {
        Self { file, reader: BufReader::with_capacity(1 << 16, Sequential::new(file)), position: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn malformed(&self, reason: impl Into<String>) -> WeightsError {
        WeightsError::malformed(&self.file.path, "GGUF", reason)
    }

    /// Refuses `count` items of at least `size` bytes when the file or the header's limit has no
    /// room for them: nothing is allocated on a claim alone.
    pub(super) fn room(&self, count: u64, size: u64, what: &str) -> Result<usize, WeightsError> {
        let left = self.file.length.min(MAX_HEADER_BYTES) - self.position;
        match count.checked_mul(size) {
            Some(bytes) if bytes <= left => Ok(count as usize),
            _ => {
                Err(self.malformed(format!("it claims {count} {what}, and {left} bytes are left (a file cut short?)")))
            }
        }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], WeightsError> {
        self.room(N as u64, 1, "bytes")?;
        let mut buffer = [0; N];
        self.fill(&mut buffer)?;
        Ok(buffer)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), WeightsError> {
        self.reader.read_exact(buffer).map_err(WeightsError::io("read", &self.file.path))?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32, WeightsError> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WeightsError> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(super) fn string(&mut self, limit: u64) -> Result<String, WeightsError> {
        let length = self.u64()?;
        if length > limit {
            return Err(self.malformed(format!("it holds a text of {length} bytes where at most {limit} are allowed")));
        }
        let mut buffer = vec![0; self.room(length, 1, "bytes of text")?];
        self.fill(&mut buffer)?;
        String::from_utf8(buffer).map_err(|_| self.malformed("it holds a text that is not UTF-8"))
    }

    pub(super) fn value(&mut self) -> Result<Value, WeightsError> {
        let kind = self.u32()?;
        Ok(match kind {
            6 => Value::Float(f32::from_le_bytes(self.bytes()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.bytes()?)),
            7 => Value::Bool(self.boolean()?),
            8 => Value::String(self.string(MAX_HEADER_BYTES)?),
            9 => self.array()?,
            _ => Value::Integer(self.integer(kind)?),
        })
    }

    fn array(&mut self) -> Result<Value, WeightsError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => return Err(self.malformed("it holds an array of arrays")),
            _ => return Err(self.malformed(format!("it holds an array of the type {kind}"))),
        };
        let items = 0..self.room(count, size, "array elements")?;
        Ok(match kind {
            6 => Value::Floats(items.map(|_| self.bytes().map(f32::from_le_bytes)).collect::<Result<_, _>>()?),
            12 => Value::Floats(
                items.map(|_| self.bytes().map(|b| f64::from_le_bytes(b) as f32)).collect::<Result<_, _>>()?,
            ),
            7 => Value::Bools(items.map(|_| self.boolean()).collect::<Result<_, _>>()?),
            8 => Value::Strings(items.map(|_| self.string(MAX_HEADER_BYTES)).collect::<Result<_, _>>()?),
            _ => Value::Integers(
                items
                    .map(|_| {
                        let value = self.integer(kind)?;
                        i64::try_from(value).map_err(|_| self.malformed(format!("{value} is out of range")))
                    })
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    fn integer(&mut self, kind: u32) -> Result<i128, WeightsError> {
        Ok(match kind {
            0 => u8::from_le_bytes(self.bytes()?).into(),
            1 => i8::from_le_bytes(self.bytes()?).into(),
            2 => u16::from_le_bytes(self.bytes()?).into(),
            3 => i16::from_le_bytes(self.bytes()?).into(),
            4 => u32::from_le_bytes(self.bytes()?).into(),
            5 => i32::from_le_bytes(self.bytes()?).into(),
            10 => u64::from_le_bytes(self.bytes()?).into(),
            11 => i64::from_le_bytes(self.bytes()?).into(),
            _ => return Err(self.malformed(format!("it holds a value of the type {kind}"))),
        })
    }

    fn boolean(&mut self) -> Result<bool, WeightsError> {
        let [byte] = self.bytes()?;
        match byte {
            0 | 1 => Ok(byte == 1),
            _ => Err(self.malformed(format!("it holds the boolean {byte}"))),
        }
    }
}
