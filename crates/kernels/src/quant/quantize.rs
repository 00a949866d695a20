//! From f32 to the stored formats.
//!
//! Q8_0, Q4_0 and Q4_1 give ggml's bytes: `quantize_row_*_ref` of
//! <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>.

use half::{bf16, f16};
use rayon::prelude::*;

use super::group::GROUP;
use super::super_blocks::{quantize_q4_k, quantize_q6_k};
use super::{BlockFormat, QuantError};

/// Values that one thread quantizes at a time, at least: a few microseconds' work.
const PART: usize = 1 << 14;

/// The bytes of whole rows of `columns` values each.
///
/// # Errors
/// If `columns` is no whole number of blocks, the values are no whole number of rows, one of them is NaN or infinite,
/// or they are beyond the format's range.
pub fn quantize(format: BlockFormat, values: &[f32], columns: usize) -> Result<Vec<u8>, QuantError> {
    let row_bytes = format.row_bytes(columns)?;
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let too_large = QuantError::TooLarge { rows, columns };
    if rows * columns != values.len() {
        return Err(QuantError::Ragged { values: values.len(), columns });
    }
    if let Some(at) = values.par_iter().position_first(|value| !value.is_finite()) {
        return Err(QuantError::NotFinite { row: at / columns, column: at % columns });
    }
    let mut bytes = vec![0; rows.checked_mul(row_bytes).ok_or(too_large)?];
    let (len, size) = (format.block_len(), format.block_bytes());
    let part = PART / len;
    let failed = values.par_chunks(part * len).zip(bytes.par_chunks_mut(part * size)).enumerate().find_map_first(
        |(at, (values, bytes))| {
            let mut blocks = values.chunks_exact(len).zip(bytes.chunks_exact_mut(size));
            let failed = blocks.position(|(values, block)| !quantize_block(format, values, block))?;
            Some((at * part + failed) * len)
        },
    );
    match failed {
        Some(at) => Err(QuantError::OutOfRange { format, row: at / columns, column: at % columns }),
        None => Ok(bytes),
    }
}

/// One block; whether its values are within the format's range.
fn quantize_block(format: BlockFormat, values: &[f32], block: &mut [u8]) -> bool {
    match format {
        BlockFormat::Q8_0 => q8_0(values, block),
        BlockFormat::Q4_0 => q4_0(values, block),
        BlockFormat::Q4_1 => q4_1(values, block),
        BlockFormat::Q4K => quantize_q4_k(values, block),
        BlockFormat::Q6K => quantize_q6_k(values, block),
        BlockFormat::F16 => put_half(block, values[0]),
        BlockFormat::BF16 => {
            let value = bf16::from_f32(values[0]);
            block.copy_from_slice(&value.to_le_bytes());
            value.is_finite()
        }
    }
}

/// Writes `value` to the first two bytes; whether an f16 can hold it.
pub(super) fn put_half(block: &mut [u8], value: f32) -> bool {
    let half = f16::from_f32(value);
    block[..2].copy_from_slice(&half.to_le_bytes());
    half.is_finite()
}

/// `1 / d`, and 0 for 0.
fn inverse(d: f32) -> f32 {
    if d == 0. { 0. } else { 1. / d }
}

/// Writes whole numbers of four bits: the first half's to the lower bits, the second half's to the upper.
fn put_nibbles(block: &mut [u8], values: &[f32], nibble: impl Fn(f32) -> u8) {
    let (first, second) = values.split_at(GROUP / 2);
    for (byte, (a, b)) in block.iter_mut().zip(first.iter().zip(second)) {
        *byte = nibble(*a).min(15) | nibble(*b).min(15) << 4;
    }
}

fn q8_0(values: &[f32], block: &mut [u8]) -> bool {
    let largest = values.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    let d = largest / 127.;
    let by = inverse(d);
    block[2..].iter_mut().zip(values).for_each(|(byte, value)| *byte = (value * by).round() as i8 as u8);
    put_half(block, d)
}

fn q4_0(values: &[f32], block: &mut [u8]) -> bool {
    // The value that is largest without its sign: it becomes -8.
    let largest =
        values.iter().fold(0_f32, |largest, value| if value.abs() > largest.abs() { *value } else { largest });
    let d = largest / -8.;
    let by = inverse(d);
    put_nibbles(&mut block[2..], values, |value| (value * by + 8.5) as u8);
    put_half(block, d)
}

fn q4_1(values: &[f32], block: &mut [u8]) -> bool {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (most - least) / 15.;
    let by = inverse(d);
    put_nibbles(&mut block[4..], values, |value| ((value - least) * by + 0.5) as u8);
    put_half(block, d) && put_half(&mut block[2..], least)
}
