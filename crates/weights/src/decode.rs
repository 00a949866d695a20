//! Stored values (floats, integers, booleans, GGUF's blocks) to f32, chunk by chunk.

use half::{bf16, f16};

use crate::gguf::blocks;
use crate::tensors::StoredDtype;

/// Appends the little-endian values in `bytes` (whole blocks of them) to `out`.
///
/// # Errors
/// Says why when a value is an integer beyond f32's exact range.
pub(crate) fn append(dtype: StoredDtype, bytes: &[u8], out: &mut Vec<f32>) -> Result<(), String> {
    use StoredDtype::*;
    match dtype {
        F32 => out.extend(values(bytes).map(f32::from_le_bytes)),
        F16 => out.extend(values(bytes).map(|b| f16::from_le_bytes(b).to_f32())),
        BF16 => out.extend(values(bytes).map(|b| bf16::from_le_bytes(b).to_f32())),
        F64 => out.extend(values(bytes).map(|b| f64::from_le_bytes(b) as f32)),
        I64 => exact(values(bytes).map(|b| i64::from_le_bytes(b).into()), out)?,
        I32 => exact(values(bytes).map(|b| i32::from_le_bytes(b).into()), out)?,
        I16 => exact(values(bytes).map(|b| i16::from_le_bytes(b).into()), out)?,
        I8 => exact(values(bytes).map(|b| i8::from_le_bytes(b).into()), out)?,
        U64 => exact(values(bytes).map(|b| u64::from_le_bytes(b).into()), out)?,
        U32 => exact(values(bytes).map(|b| u32::from_le_bytes(b).into()), out)?,
        U16 => exact(values(bytes).map(|b| u16::from_le_bytes(b).into()), out)?,
        U8 => exact(bytes.iter().map(|b| (*b).into()), out)?,
        Bool => exact(bytes.iter().map(|b| (*b != 0).into()), out)?,
        Ggml(kind) => blocks::append(kind, bytes, out),
    }
    Ok(())
}

fn values<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

fn exact(values: impl Iterator<Item = i128>, out: &mut Vec<f32>) -> Result<(), String> {
    for value in values {
        let float = value as f32;
        if float as i128 != value {
            return Err(format!("the integer {value} has no exact f32"));
        }
        out.push(float);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(dtype: StoredDtype, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let mut out = Vec::new();
        append(dtype, bytes, &mut out)?;
        Ok(out)
    }

    #[test]
    fn every_plain_type_decodes() {
        use StoredDtype::*;
        let one_and_minus_two = |bytes: [Vec<u8>; 2]| bytes.concat();
        let cases = [
            (F64, one_and_minus_two([1f64, -2.].map(|v| v.to_le_bytes().to_vec()))),
            (F32, one_and_minus_two([1f32, -2.].map(|v| v.to_le_bytes().to_vec()))),
            (F16, one_and_minus_two([1f32, -2.].map(|v| f16::from_f32(v).to_le_bytes().to_vec()))),
            (BF16, one_and_minus_two([1f32, -2.].map(|v| bf16::from_f32(v).to_le_bytes().to_vec()))),
            (I64, one_and_minus_two([1i64, -2].map(|v| v.to_le_bytes().to_vec()))),
            (I32, one_and_minus_two([1i32, -2].map(|v| v.to_le_bytes().to_vec()))),
            (I16, one_and_minus_two([1i16, -2].map(|v| v.to_le_bytes().to_vec()))),
            (I8, one_and_minus_two([1i8, -2].map(|v| v.to_le_bytes().to_vec()))),
        ];
        for (dtype, bytes) in cases {
            assert_eq!(decode(dtype, &bytes).unwrap(), [1., -2.], "{dtype}");
            assert_eq!((1, bytes.len() / 2), dtype.block());
        }
        assert_eq!(decode(U8, &[7, 255]).unwrap(), [7., 255.]);
        assert_eq!(decode(Bool, &[0, 3]).unwrap(), [0., 1.]);
        assert_eq!(decode(U16, &[0, 1]).unwrap(), [256.]);
        assert_eq!(decode(U32, &[0, 0, 1, 0]).unwrap(), [65536.]);
        assert_eq!(decode(U64, &[1, 0, 0, 0, 0, 0, 0, 0]).unwrap(), [1.]);
    }

    #[test]
    fn an_integer_that_would_lose_precision_is_refused() {
        let big = (1i64 << 24) + 1;
        assert!(decode(StoredDtype::I64, &big.to_le_bytes()).is_err());
        assert!(decode(StoredDtype::I64, &(1i64 << 24).to_le_bytes()).is_ok());
    }
}
