//! Products of weights in 16-bit floats with AVX2: they are widened on the way.

use std::arch::x86_64::*;
use std::ops::Range;

use super::avx2::{load_half, sum};
use super::group::dequantize;
use super::{BlockFormat, QuantizedMatrix, portable};
use crate::output::Output;

/// Rows of activations for which weights are widened once, in memory.
const MANY: usize = 8;
/// Rows of weights at a time.
const WEIGHTS: usize = 4;
/// Values that are widened at a time: they stay in the second cache.
const WIDENED: usize = 1 << 16;

/// Some outputs of weights in 16-bit floats for all rows of `x`.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; no other thread writes these outputs.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn floats(x: &[f32], weight: &QuantizedMatrix, outputs: Range<usize>, y: Output) {
    // SAFETY: as the caller promises.
    match weight.format() == BlockFormat::BF16 {
        true => unsafe { floats_of::<true>(x, weight, outputs, y) },
        // SAFETY: as above.
        false => unsafe { floats_of::<false>(x, weight, outputs, y) },
    }
}

/// # Safety
/// As [`floats`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn floats_of<const BF16: bool>(x: &[f32], weight: &QuantizedMatrix, outputs: Range<usize>, y: Output) {
    let (bytes, row_bytes, columns) = (weight.bytes(), weight.row_bytes(), weight.columns());
    let rows = x.len() / columns;
    if rows >= MANY {
        let count = (WIDENED / columns).clamp(16, 128).min(outputs.len());
        let mut values = vec![0.; count * columns];
        for start in outputs.clone().step_by(count) {
            let these = start..outputs.end.min(start + count);
            widen::<BF16>(&bytes[these.start * row_bytes..these.end * row_bytes], &mut values);
            // SAFETY: `x` is `[rows, columns]`, the values `[these, columns]`, and no other thread has these outputs.
            unsafe { product(x, &values, [rows, these.len(), columns], y.at(0, these.start), y.columns()) };
        }
        return;
    }
    let run = outputs.len() / WEIGHTS;
    let weights = |output: usize| &bytes[output * row_bytes..][..row_bytes];
    // From places far from one another: memory is read faster in several long runs than in one.
    for first in outputs.start..outputs.start + run {
        let weights: [&[u8]; WEIGHTS] = std::array::from_fn(|i| weights(first + i * run));
        for (row, x) in x.chunks_exact(columns).enumerate() {
            for (i, dot) in float_dots::<BF16, WEIGHTS>(weights, x).into_iter().enumerate() {
                // SAFETY: as the caller promises.
                unsafe { y.write(row, first + i * run, dot) };
            }
        }
    }
    for output in outputs.start + WEIGHTS * run..outputs.end {
        for (row, x) in x.chunks_exact(columns).enumerate() {
            let [dot] = float_dots::<BF16, 1>([weights(output)], x);
            // SAFETY: as the caller promises.
            unsafe { y.write(row, output, dot) };
        }
    }
}

/// `y = x · wᵀ` in f32; `y` has rows that are `stride` apart.
///
/// # Safety
/// `x` is `[rows, columns]`, `w` has at least `[outputs, columns]`, `y` `[rows, outputs]` that nothing else uses.
unsafe fn product(x: &[f32], w: &[f32], [rows, outputs, columns]: [usize; 3], y: *mut f32, stride: usize) {
    let (stride, row) = (stride as isize, columns as isize);
    // SAFETY: as the caller promises.
    unsafe {
        #[rustfmt::skip]
        gemm::gemm(
            rows, outputs, columns, y, 1, stride, false, x.as_ptr(), 1, row, w.as_ptr(), row, 1,
            0., 1., false, false, false, gemm::Parallelism::None,
        );
    }
}

/// Eight values.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn widened<const BF16: bool>(halves: __m128i) -> __m256 {
    match BF16 {
        true => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves))),
        false => _mm256_cvtph_ps(halves),
    }
}

/// The values of the 16-bit floats.
#[target_feature(enable = "avx2,f16c")]
fn widen<const BF16: bool>(bytes: &[u8], out: &mut [f32]) {
    let (eights, rest) = bytes.as_chunks::<16>();
    let (out_eights, out_rest) = out.as_chunks_mut::<8>();
    for (bytes, out) in eights.iter().zip(out_eights.iter_mut()) {
        // SAFETY: both have room for eight values.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), widened::<BF16>(load_half(bytes.as_ptr()))) };
    }
    let rest_values = match out_eights.get_mut(eights.len()) {
        Some(next) => &mut next[..],
        None => out_rest,
    };
    dequantize(if BF16 { BlockFormat::BF16 } else { BlockFormat::F16 }, rest, rest_values);
}

/// The products of `W` rows of 16-bit floats with one row of activations.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn float_dots<const BF16: bool, const W: usize>(weights: [&[u8]; W], x: &[f32]) -> [f32; W] {
    const STEP: usize = 16;
    let columns = x.len();
    assert!(weights.iter().all(|weights| weights.len() == 2 * columns));
    let whole = columns / STEP * STEP;
    // With four rows, as many sums as hide the latency of their additions.
    let mut totals = [[_mm256_setzero_ps(); 2]; W];
    for at in (0..whole).step_by(STEP) {
        for half in [0, 1] {
            let at = at + 8 * half;
            // SAFETY: eight more values are the row's.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(at)) };
            for (totals, weights) in totals.iter_mut().zip(weights) {
                // SAFETY: as above.
                let values = widened::<BF16>(unsafe { load_half(weights.as_ptr().add(2 * at)) });
                totals[half] = _mm256_fmadd_ps(values, x, totals[half]);
            }
        }
    }
    let format = if BF16 { BlockFormat::BF16 } else { BlockFormat::F16 };
    std::array::from_fn(|i| {
        let [a, b] = totals[i];
        sum(_mm256_add_ps(a, b)) + portable::dot_floats(format, &weights[i][2 * whole..], &x[whole..])
    })
}
