//! Dequantisation of GGUF's blocks.

use half::f16;
use safevlm_kernels::quant::dequantize;

use super::types::GgmlType;

/// Appends the values of the whole blocks in `bytes` to `out`.
pub(crate) fn append(kind: GgmlType, bytes: &[u8], out: &mut Vec<f32>) {
    match kind {
        GgmlType::F32 => out.extend(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))),
        GgmlType::Q5_0 => bytes.as_chunks().0.iter().for_each(|block| q5_0(block, out)),
        _ => {
            let (values, size) = kind.block();
            let from = out.len();
            out.resize(from + bytes.len() / size * values, 0.);
            if let Some(format) = kind.format() {
                dequantize(format, bytes, &mut out[from..]);
            }
        }
    }
}

/// f16 d, 32 fifth bits, 16 bytes of the lower four; low nibbles are the first half: x = d * (q - 16)
/// (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>, `dequantize_row_q5_0`).
fn q5_0(block: &[u8; 22], out: &mut Vec<f32>) {
    let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    let value = |lower: u8, bit: usize| d * (f32::from(lower) + (16 * (fifth >> bit & 1)) as f32 - 16.);
    let quants = block[6..].iter().enumerate();
    out.extend(quants.clone().map(|(i, q)| value(q & 0xf, i)));
    out.extend(quants.map(|(i, q)| value(q >> 4, i + 16)));
}
