//! The formats in which weights are kept, as GGUF lays them out.

use std::fmt;
use std::str::FromStr;

use super::QuantError;

/// How the values of a weight are stored: whole numbers of few bits in blocks that share a scale, or 16-bit floats.
///
/// The bytes are those of ggml's types of the same names
/// (<https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// Blocks of 32: an f16 scale and signed bytes.
    Q8_0,
    /// Blocks of 32: an f16 scale and four bits a value, around zero.
    Q4_0,
    /// Blocks of 32: an f16 scale, an f16 minimum and four bits a value.
    Q4_1,
    /// Blocks of 256: four bits a value; each 32 have a 6-bit scale and minimum of their own.
    Q4K,
    /// Blocks of 256: six bits a value; each 16 have an 8-bit scale of their own.
    Q6K,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    BF16,
}

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 7] = [Self::Q8_0, Self::Q4_0, Self::Q4_1, Self::Q4K, Self::Q6K, Self::F16, Self::BF16];

    /// Values of one block.
    pub fn block_len(self) -> usize {
        match self {
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => 32,
            Self::Q4K | Self::Q6K => 256,
            Self::F16 | Self::BF16 => 1,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q4K => 144,
            Self::Q6K => 210,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// Bytes of a row of `columns` values.
    ///
    /// # Errors
    /// If the row is no whole number of blocks.
    pub fn row_bytes(self, columns: usize) -> Result<usize, QuantError> {
        if !columns.is_multiple_of(self.block_len()) {
            return Err(QuantError::RowLength { format: self, columns, block: self.block_len() });
        }
        let bytes = (columns / self.block_len()).checked_mul(self.block_bytes());
        bytes.ok_or(QuantError::TooLarge { rows: 1, columns })
    }

    /// The name in options and configurations: `q8_0`, `q4_k`, `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q4K => "q4_k",
            Self::Q6K => "q6_k",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        }
    }

    /// GGUF's name: `Q8_0`, `Q4_K`, `F16`.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q4K => "Q4_K",
            Self::Q6K => "Q6_K",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
        }
    }

    /// GGUF's number of the type.
    pub fn gguf_id(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q6K => 14,
            Self::BF16 => 30,
        }
    }

    /// The format with GGUF's number `id`, `None` for any other type.
    pub fn from_gguf_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.gguf_id() == id)
    }

    /// Whether values are 16-bit floats, which are multiplied as they are.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16)
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BlockFormat {
    type Err = QuantError;

    /// Takes [`name`](Self::name) and [`gguf_name`](Self::gguf_name).
    fn from_str(text: &str) -> Result<Self, QuantError> {
        let known = Self::ALL.into_iter().find(|format| text == format.name() || text == format.gguf_name());
        known.ok_or_else(|| QuantError::UnknownFormat(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_survive_a_round_trip_and_others_are_refused() {
        for format in BlockFormat::ALL {
            assert_eq!(format.to_string().parse::<BlockFormat>().unwrap(), format);
            assert_eq!(format.gguf_name().parse::<BlockFormat>().unwrap(), format);
            assert_eq!(BlockFormat::from_gguf_id(format.gguf_id()), Some(format));
        }
        assert_eq!(BlockFormat::from_gguf_id(0), None);
        let error = "q5_0".parse::<BlockFormat>().unwrap_err().to_string();
        assert!(error.contains("`q5_0`") && error.contains("q8_0, q4_0, q4_1, q4_k, q6_k"), "{error}");
    }

    #[test]
    fn a_row_is_a_whole_number_of_blocks() {
        assert_eq!(BlockFormat::Q4_1.row_bytes(576).unwrap(), 360);
        assert_eq!(BlockFormat::Q4K.row_bytes(0).unwrap(), 0);
        let error = BlockFormat::Q4K.row_bytes(576).unwrap_err().to_string();
        assert!(error.contains("576") && error.contains("256") && error.contains("q8_0"), "{error}");
        assert!(matches!(BlockFormat::F16.row_bytes(usize::MAX), Err(QuantError::TooLarge { .. })));
    }
}
