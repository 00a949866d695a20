//! Dequantisation of GGUF's blocks, as `ggml-quants.c` defines it:
//! <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c> (`dequantize_row_*`).

use half::{bf16, f16};

use super::types::GgmlType;

/// Appends the values of the whole blocks in `bytes` to `out`.
pub(super) fn append(kind: GgmlType, bytes: &[u8], out: &mut Vec<f32>) {
    match kind {
        GgmlType::F32 => each(bytes, |b| out.push(f32::from_le_bytes(*b))),
        GgmlType::F16 => each(bytes, |b| out.push(f16::from_le_bytes(*b).to_f32())),
        GgmlType::BF16 => each(bytes, |b| out.push(bf16::from_le_bytes(*b).to_f32())),
        GgmlType::Q4_0 => each(bytes, |b| q4_0(b, out)),
        GgmlType::Q4_1 => each(bytes, |b| q4_1(b, out)),
        GgmlType::Q5_0 => each(bytes, |b| q5_0(b, out)),
        GgmlType::Q8_0 => each(bytes, |b| q8_0(b, out)),
        GgmlType::Q4_K => each(bytes, |b| q4_k(b, out)),
        GgmlType::Q6_K => each(bytes, |b| q6_k(b, out)),
    }
}

fn each<const N: usize>(bytes: &[u8], block: impl FnMut(&[u8; N])) {
    bytes.as_chunks().0.iter().for_each(block);
}

/// The f16 at `at`.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn low(byte: &u8) -> f32 {
    f32::from(byte & 0xf)
}

fn high(byte: &u8) -> f32 {
    f32::from(byte >> 4)
}

/// f16 d, 16 bytes; low nibbles are the first half: x = d * (q - 8).
fn q4_0(block: &[u8; 18], out: &mut Vec<f32>) {
    let d = half_at(block, 0);
    out.extend(block[2..].iter().map(|q| d * (low(q) - 8.)));
    out.extend(block[2..].iter().map(|q| d * (high(q) - 8.)));
}

/// f16 d, f16 m, 16 bytes; low nibbles are the first half: x = d * q + m.
fn q4_1(block: &[u8; 20], out: &mut Vec<f32>) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    out.extend(block[4..].iter().map(|q| d * low(q) + m));
    out.extend(block[4..].iter().map(|q| d * high(q) + m));
}

/// f16 d, 32 fifth bits, 16 bytes of the lower four: x = d * (q - 16).
fn q5_0(block: &[u8; 22], out: &mut Vec<f32>) {
    let d = half_at(block, 0);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    let value = |lower: f32, bit: usize| d * (lower + (16 * (fifth >> bit & 1)) as f32 - 16.);
    let quants = block[6..].iter().enumerate();
    out.extend(quants.clone().map(|(i, q)| value(low(q), i)));
    out.extend(quants.map(|(i, q)| value(high(q), i + 16)));
}

/// f16 d, 32 signed bytes: x = d * q.
fn q8_0(block: &[u8; 34], out: &mut Vec<f32>) {
    let d = half_at(block, 0);
    out.extend(block[2..].iter().map(|q| d * f32::from(*q as i8)));
}

/// f16 d, f16 m, eight 6-bit scales and minima in 12 bytes, 128 bytes of nibbles: each 32 values
/// are x = (d * scale) * q - m * minimum.
fn q4_k(block: &[u8; 144], out: &mut Vec<f32>) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let packed = &block[4..16];
    // The upper two bits of the last four pairs lie in the first four's bytes.
    let pair = |i: usize| match i {
        0..4 => (packed[i] & 63, packed[i + 4] & 63),
        _ => (packed[i + 4] & 0xf | packed[i - 4] >> 6 << 4, packed[i + 4] >> 4 | packed[i] >> 6 << 4),
    };
    for (group, quants) in block[16..].chunks_exact(32).enumerate() {
        let scaled = |i: usize| {
            let (scale, minimum) = pair(i);
            (d * f32::from(scale), m * f32::from(minimum))
        };
        let (scale, minimum) = scaled(2 * group);
        out.extend(quants.iter().map(|q| scale * low(q) - minimum));
        let (scale, minimum) = scaled(2 * group + 1);
        out.extend(quants.iter().map(|q| scale * high(q) - minimum));
    }
}

/// 128 bytes of lower nibbles, 64 bytes of upper bit pairs, 16 signed scales, f16 d: each 16
/// values are x = (d * scale) * (q - 32).
fn q6_k(block: &[u8; 210], out: &mut Vec<f32>) {
    let d = half_at(block, 208);
    for part in 0..2 {
        let lower = &block[64 * part..64 * part + 64];
        let upper = &block[128 + 32 * part..160 + 32 * part];
        let scales = &block[192 + 8 * part..200 + 8 * part];
        for quarter in 0..4 {
            let nibbles = &lower[32 * (quarter % 2)..];
            for i in 0..32 {
                let nibble = if quarter < 2 { nibbles[i] & 0xf } else { nibbles[i] >> 4 };
                let pair = upper[i] >> (2 * quarter) & 3;
                let scale = d * f32::from(scales[2 * quarter + i / 16] as i8);
                out.push(scale * (f32::from(nibble | pair << 4) - 32.));
            }
        }
    }
}
