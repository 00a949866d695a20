//! Products of rows in plain Rust, for every processor: the definition of what the faster paths compute.

use half::{bf16, f16};

use super::BlockFormat;
use super::activations::Row;
use super::group::{Blocks, GROUP, with_blocks};

/// The product of one row of weights, in its stored bytes, with one row of activations.
pub(super) fn dot(format: BlockFormat, weights: &[u8], x: Row<'_>) -> f32 {
    with_blocks!(format, B => quantized::<B>(weights, x), 0.)
}

fn quantized<B: Blocks>(weights: &[u8], x: Row<'_>) -> f32 {
    let groups = weights.chunks_exact(B::BYTES).flat_map(|block| (0..B::LENGTH / GROUP).map(move |at| (block, at)));
    let activations = x.quants.as_chunks::<GROUP>().0.iter().zip(x.scales.iter().zip(x.sums));
    let mut total = 0.;
    for ((block, at), (quants, (scale, sum))) in groups.zip(activations) {
        let group = B::group(block, at);
        let half = |range: std::ops::Range<usize>| -> f32 {
            let pairs = group.quants[range.clone()].iter().zip(&quants[range]);
            pairs.map(|(w, x)| i32::from(*w) * i32::from(*x)).sum::<i32>() as f32
        };
        let mut product = group.scales[0] * half(0..16) + group.scales[1] * half(16..32);
        if B::OFFSET {
            product += group.offset * *sum as f32;
        }
        total += scale * product;
    }
    total
}

/// The product of one row of 16-bit floats with one row of activations.
pub(super) fn dot_floats(format: BlockFormat, weights: &[u8], x: &[f32]) -> f32 {
    match format {
        BlockFormat::BF16 => floats(weights, x, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => floats(weights, x, |bytes| f16::from_le_bytes(bytes).to_f32()),
    }
}

#[inline(always)]
fn floats(weights: &[u8], x: &[f32], value: impl Fn([u8; 2]) -> f32) -> f32 {
    let weights = weights.as_chunks::<2>().0;
    let (whole, rest) = weights.as_chunks::<8>();
    let (x_whole, x_rest) = x.as_chunks::<8>();
    let mut sums = [0_f32; 8];
    for (weights, x) in whole.iter().zip(x_whole) {
        for i in 0..8 {
            sums[i] += value(weights[i]) * x[i];
        }
    }
    let rest: f32 = rest.iter().zip(x_rest).map(|(weight, x)| value(*weight) * x).sum();
    sums.iter().sum::<f32>() + rest
}
