//! What all quantized formats have in common: groups of 32 small whole numbers with their factors.
//!
//! Layouts: ggml's `dequantize_row_*`
//! (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>).

use half::{bf16, f16};

use super::BlockFormat;

/// Values of a group. Activations are quantized in groups of this length too.
pub(super) const GROUP: usize = 32;

/// 32 values: `scales[i / 16] * quants[i] + offset`.
pub(super) struct Group {
    pub(super) quants: [i8; GROUP],
    pub(super) scales: [f32; 2],
    pub(super) offset: f32,
}

/// A quantized format: how groups are read from a block's bytes.
pub(super) trait Blocks {
    /// Values of a block.
    const LENGTH: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Whether groups have offsets; else their offset is 0.
    const OFFSET: bool;

    /// Group `at` of a block of [`BYTES`](Self::BYTES) bytes.
    fn group(block: &[u8], at: usize) -> Group;
}

pub(super) struct Q8_0;
pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q4K;
pub(super) struct Q6K;

/// Calls `$function::<B, ..>($arguments)` for the quantized `$format`, or evaluates `$float` for 16-bit floats.
macro_rules! with_blocks {
    ($format:expr, $blocks:ident => $quantized:expr, $float:expr) => {
        match $format {
            $crate::quant::BlockFormat::Q8_0 => {
                type $blocks = $crate::quant::group::Q8_0;
                $quantized
            }
            $crate::quant::BlockFormat::Q4_0 => {
                type $blocks = $crate::quant::group::Q4_0;
                $quantized
            }
            $crate::quant::BlockFormat::Q4_1 => {
                type $blocks = $crate::quant::group::Q4_1;
                $quantized
            }
            $crate::quant::BlockFormat::Q4K => {
                type $blocks = $crate::quant::group::Q4K;
                $quantized
            }
            $crate::quant::BlockFormat::Q6K => {
                type $blocks = $crate::quant::group::Q6K;
                $quantized
            }
            $crate::quant::BlockFormat::F16 | $crate::quant::BlockFormat::BF16 => $float,
        }
    };
}
pub(super) use with_blocks;

/// The f16 at `at`.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The lower four bits of 16 bytes, then the upper four, each less `zero`.
#[inline(always)]
fn nibbles(bytes: &[u8], zero: i8) -> [i8; GROUP] {
    let mut quants = [0; GROUP];
    for i in 0..16 {
        quants[i] = (bytes[i] & 0xf) as i8 - zero;
        quants[i + 16] = (bytes[i] >> 4) as i8 - zero;
    }
    quants
}

impl Blocks for Q8_0 {
    const LENGTH: usize = 32;
    const BYTES: usize = 34;
    const OFFSET: bool = false;

    /// f16 d, 32 signed bytes: x = d * q.
    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let mut quants = [0; GROUP];
        quants.iter_mut().zip(&block[2..34]).for_each(|(quant, byte)| *quant = *byte as i8);
        Group { quants, scales: [half_at(block, 0); 2], offset: 0. }
    }
}

impl Blocks for Q4_0 {
    const LENGTH: usize = 32;
    const BYTES: usize = 18;
    const OFFSET: bool = false;

    /// f16 d, 16 bytes; lower nibbles are the first half: x = d * (q - 8).
    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        Group { quants: nibbles(&block[2..18], 8), scales: [half_at(block, 0); 2], offset: 0. }
    }
}

impl Blocks for Q4_1 {
    const LENGTH: usize = 32;
    const BYTES: usize = 20;
    const OFFSET: bool = true;

    /// f16 d, f16 m, 16 bytes; lower nibbles are the first half: x = d * q + m.
    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        Group { quants: nibbles(&block[4..20], 0), scales: [half_at(block, 0); 2], offset: half_at(block, 2) }
    }
}

/// The 6-bit scale and minimum of group `at` in the 12 bytes of a Q4_K block.
///
/// The upper two bits of the last four pairs lie in the first four's bytes.
#[inline(always)]
pub(super) fn scale_and_minimum(packed: &[u8], at: usize) -> (u8, u8) {
    if at < 4 {
        (packed[at] & 63, packed[at + 4] & 63)
    } else {
        let upper = |byte: u8| (byte >> 6) << 4;
        (packed[at + 4] & 0xf | upper(packed[at - 4]), packed[at + 4] >> 4 | upper(packed[at]))
    }
}

impl Q4K {
    /// The scale and offset of group `at`.
    #[inline(always)]
    pub(super) fn factors(block: &[u8], at: usize) -> (f32, f32) {
        let (scale, minimum) = scale_and_minimum(&block[4..16], at);
        (half_at(block, 0) * f32::from(scale), -(half_at(block, 2) * f32::from(minimum)))
    }
}

impl Blocks for Q4K {
    const LENGTH: usize = 256;
    const BYTES: usize = 144;
    const OFFSET: bool = true;

    /// f16 d, f16 m, eight 6-bit scales and minima, 128 bytes; the lower nibbles of 32 bytes are one group, the
    /// upper ones the next: x = (d * scale) * q - m * minimum.
    #[inline(always)]
    fn group(block: &[u8], at: usize) -> Group {
        let bytes = &block[16 + at / 2 * GROUP..][..GROUP];
        let mut quants = [0; GROUP];
        let shift = 4 * (at % 2);
        quants.iter_mut().zip(bytes).for_each(|(quant, byte)| *quant = (byte >> shift & 0xf) as i8);
        let (scale, offset) = Self::factors(block, at);
        Group { quants, scales: [scale; 2], offset }
    }
}

impl Blocks for Q6K {
    const LENGTH: usize = 256;
    const BYTES: usize = 210;
    const OFFSET: bool = false;

    /// 128 bytes of lower nibbles, 64 bytes of upper bit pairs, 16 signed scales, f16 d: each 16 values are
    /// x = (d * scale) * (q - 32).
    #[inline(always)]
    fn group(block: &[u8], at: usize) -> Group {
        let (half, quarter) = (at / 4, at % 4);
        let lower = &block[64 * half + 32 * (quarter % 2)..][..GROUP];
        let upper = &block[128 + 32 * half..][..GROUP];
        let mut quants = [0; GROUP];
        for i in 0..GROUP {
            let pair = upper[i] >> (2 * quarter) & 3;
            quants[i] = (lower[i] >> (4 * (quarter / 2)) & 0xf | pair << 4) as i8 - 32;
        }
        let d = half_at(block, 208);
        let scale = |i: usize| d * f32::from(block[192 + 2 * at + i] as i8);
        Group { quants, scales: [scale(0), scale(1)], offset: 0. }
    }
}

/// Writes the values of the whole blocks in `bytes` to `out`.
pub fn dequantize(format: BlockFormat, bytes: &[u8], out: &mut [f32]) {
    fn halves(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; 2]) -> f32) {
        bytes.as_chunks().0.iter().zip(out).for_each(|(bytes, out)| *out = value(*bytes));
    }
    fn blocks<B: Blocks>(bytes: &[u8], out: &mut [f32]) {
        for (block, out) in bytes.chunks_exact(B::BYTES).zip(out.chunks_exact_mut(B::LENGTH)) {
            for (at, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
                let group = B::group(block, at);
                for (i, (out, quant)) in out.iter_mut().zip(group.quants).enumerate() {
                    let product = group.scales[i / 16] * f32::from(quant);
                    *out = if B::OFFSET { product + group.offset } else { product };
                }
            }
        }
    }
    match format {
        BlockFormat::F16 => halves(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        BlockFormat::BF16 => halves(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => with_blocks!(format, B => blocks::<B>(bytes, out), ()),
    }
}
