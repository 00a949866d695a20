//! The little of protobuf's wire format that a SentencePiece model needs.

use thiserror::Error;

/// Bytes that are no protobuf message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// The message ends inside a field.
    #[error("it ends in the middle of a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("it has a number of more than 64 bits")]
    Varint,
    /// A field of a kind that protobuf no longer has, or never had.
    #[error("it has a field of kind {0}")]
    Kind(u8),
    /// A field whose value is of another kind than the format says.
    #[error("its field {0} has a value of the wrong kind")]
    Value(u64),
    /// Text that is not UTF-8.
    #[error("its field {0} is not UTF-8")]
    Text(u64),
}

/// The value of one field, borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64,
    Bytes(&'a [u8]),
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    value: Value<'a>,
}

impl<'a> Field<'a> {
    pub(crate) fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::Value(self.number)),
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Text(self.number))
    }

    pub(crate) fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(number) => Ok(number),
            _ => Err(WireError::Value(self.number)),
        }
    }

    pub(crate) fn float(&self) -> Result<f32, WireError> {
        match self.value {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(WireError::Value(self.number)),
        }
    }
}

/// The fields of one message in their order. Nothing is copied; a length is believed only when the
/// bytes are there.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Varint);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Varint)
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            kind => return Err(WireError::Kind(kind as u8)),
        };
        Ok(Field { number: tag >> 3, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_read() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields: Vec<Field<'_>> = Fields::new(&message).collect::<Result<_, _>>().unwrap();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(fields[0].varint(), Ok(150));
        assert_eq!(fields[1].text(), Ok("hi"));
        assert_eq!(fields[2].float(), Ok(1.0));
        assert_eq!(fields[0].text(), Err(WireError::Value(1)));
        assert_eq!(fields[3].varint(), Err(WireError::Value(4)));
    }

    #[test]
    fn damage_is_an_error_and_ends_the_message() {
        let read = |message: &[u8]| Fields::new(message).last().map(|field| field.map(|field| field.number));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x08]), Some(Err(WireError::Truncated)));
        assert_eq!(
            read(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Some(Err(WireError::Truncated))
        );
        assert_eq!(read(&[0x12, 5, 1, 2]), Some(Err(WireError::Truncated)));
        assert_eq!(
            read(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Some(Err(WireError::Varint))
        );
        assert_eq!(read(&[0xff; 11]), Some(Err(WireError::Varint)));
        assert_eq!(read(&[0x0b]), Some(Err(WireError::Kind(3))));
        assert_eq!(Fields::new(&[0x0a, 1, 0xff]).next().unwrap().unwrap().text(), Err(WireError::Text(1)));
    }
}
