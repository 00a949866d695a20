//! Products of few rows of activations with AVX2: every weight is read once, as it is stored.
//!
//! `vpmaddubsw` multiplies unsigned bytes with signed ones and adds neighbours in 16 bits, where it saturates. It never
//! does here: four bits give at most 4 · 15 · 127, six bits less 32 give 2 · 32 · 127, eight bits 2 · 128 · 127.

use std::arch::x86_64::*;
use std::ops::Range;

use super::activations::{Activations, Row};
use super::group::{GROUP, Q4_0, Q4_1, Q4K, Q6K, Q8_0, with_blocks};
use super::{BlockFormat, QuantizedMatrix, portable};
use crate::output::Output;

/// A quantized format's product of `W` rows of weights with `X` rows of activations.
trait Dots {
    /// # Safety
    /// The processor has AVX2, FMA and F16C; all rows have as many whole blocks.
    unsafe fn dots<const W: usize, const X: usize>(weights: [&[u8]; W], x: [Row<'_>; X]) -> [[f32; X]; W];
}

/// Some outputs of quantized weights for all rows of `x`.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; no other thread writes these outputs.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn few_rows(x: &Activations, weight: &QuantizedMatrix, outputs: Range<usize>, y: Output) {
    let mut row = 0;
    while row < x.rows() {
        // SAFETY: as the caller promises; `X` rows are left.
        unsafe {
            match x.rows() - row {
                1 => with_blocks!(weight.format(), B => outputs_of::<B, 4, 1>(x, row, weight, outputs.clone(), y), ()),
                2 => with_blocks!(weight.format(), B => outputs_of::<B, 2, 2>(x, row, weight, outputs.clone(), y), ()),
                3 => with_blocks!(weight.format(), B => outputs_of::<B, 2, 3>(x, row, weight, outputs.clone(), y), ()),
                _ => with_blocks!(weight.format(), B => outputs_of::<B, 2, 4>(x, row, weight, outputs.clone(), y), ()),
            }
        }
        row += 4;
    }
}

/// Some outputs for `X` rows of `x` from `row` on, `W` outputs at a time.
///
/// # Safety
/// As [`few_rows`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn outputs_of<B: Dots, const W: usize, const X: usize>(
    x: &Activations,
    row: usize,
    weight: &QuantizedMatrix,
    outputs: Range<usize>,
    y: Output,
) {
    let (bytes, row_bytes) = (weight.bytes(), weight.row_bytes());
    let weights = |output: usize| &bytes[output * row_bytes..][..row_bytes];
    let rows: [Row<'_>; X] = std::array::from_fn(|i| x.row(row + i));
    // From places far from one another: memory is read faster in several long runs than in one.
    let run = outputs.len() / W;
    for first in outputs.start..outputs.start + run {
        // SAFETY: as the caller promises.
        let dots = unsafe { B::dots::<W, X>(std::array::from_fn(|i| weights(first + i * run)), rows) };
        for (i, dots) in dots.iter().enumerate() {
            for (j, dot) in dots.iter().enumerate() {
                // SAFETY: as the caller promises.
                unsafe { y.write(row + j, first + i * run, *dot) };
            }
        }
    }
    for output in outputs.start + W * run..outputs.end {
        // SAFETY: as the caller promises.
        let [dots] = unsafe { B::dots::<1, X>([weights(output)], rows) };
        for (j, dot) in dots.iter().enumerate() {
            // SAFETY: as the caller promises.
            unsafe { y.write(row + j, output, *dot) };
        }
    }
}

/// 32 bytes.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load<T>(from: *const T) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// 16 bytes.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn load_half(from: *const u8) -> __m128i {
    // SAFETY: as the caller promises.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// A number at any alignment.
///
/// # Safety
/// It is readable.
#[inline(always)]
unsafe fn read<T: Copy>(from: *const u8) -> T {
    // SAFETY: as the caller promises.
    unsafe { from.cast::<T>().read_unaligned() }
}

/// The sum of all lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum(values: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// Sums of neighbouring products, four values each.
#[inline]
#[target_feature(enable = "avx2")]
fn fours(pairs: __m256i) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sums<const W: usize, const X: usize>(totals: [[__m256; X]; W]) -> [[f32; X]; W] {
    let mut sums = [[0.; X]; W];
    for i in 0..W {
        for j in 0..X {
            sums[i][j] = sum(totals[i][j]);
        }
    }
    sums
}

impl Dots for Q8_0 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dots<const W: usize, const X: usize>(weights: [&[u8]; W], x: [Row<'_>; X]) -> [[f32; X]; W] {
        let mut totals = [[_mm256_setzero_ps(); X]; W];
        for group in 0..x[0].scales.len() {
            for i in 0..W {
                // SAFETY: the block is one of the row's.
                let (scale, quants) = unsafe {
                    let block = weights[i].as_ptr().add(group * 34);
                    (_mm256_cvtph_ps(_mm_set1_epi16(read(block))), load(block.add(2)))
                };
                let unsigned = _mm256_abs_epi8(quants);
                for j in 0..X {
                    // SAFETY: the group is one of the row's.
                    let (x, x_scale) =
                        unsafe { (load(x[j].quants.as_ptr().add(group * GROUP)), *x[j].scales.get_unchecked(group)) };
                    let products = fours(_mm256_maddubs_epi16(unsigned, _mm256_sign_epi8(x, quants)));
                    totals[i][j] =
                        _mm256_fmadd_ps(products, _mm256_mul_ps(scale, _mm256_set1_ps(x_scale)), totals[i][j]);
                }
            }
        }
        sums(totals)
    }
}

/// Q4_0 and Q4_1, two groups at a time: the lower lanes are the first group's, the upper ones the second's.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn four_bits<const MINIMUM: bool, const W: usize, const X: usize>(
    weights: [&[u8]; W],
    x: [Row<'_>; X],
) -> [[f32; X]; W] {
    let (bytes, quants_at) = if MINIMUM { (20, 4) } else { (18, 2) };
    let groups = x[0].scales.len();
    let fifteen = _mm256_set1_epi8(15);
    let spread = match MINIMUM {
        true => _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2),
        false => _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1),
    };
    let zeros = _mm256_setzero_si256();
    let mut totals = [[_mm256_setzero_ps(); X]; W];
    for pair in 0..groups / 2 {
        let mut firsts = [zeros; X];
        let mut seconds = [zeros; X];
        let mut x_scales = [_mm256_setzero_ps(); X];
        // For Q4_0 what the values lack because their zero is 8; for Q4_1 what the minima are multiplied with.
        let mut lacks = [zeros; X];
        let mut x_sums = [_mm256_setzero_ps(); X];
        for j in 0..X {
            // SAFETY: both groups are the row's.
            let (a, b, [scale_a, scale_b], [sum_a, sum_b]) = unsafe {
                let quants = x[j].quants.as_ptr().add(pair * 2 * GROUP);
                let scales = [*x[j].scales.get_unchecked(2 * pair), *x[j].scales.get_unchecked(2 * pair + 1)];
                let sums = [*x[j].sums.get_unchecked(2 * pair), *x[j].sums.get_unchecked(2 * pair + 1)];
                (load(quants), load(quants.add(GROUP)), scales, sums)
            };
            firsts[j] = _mm256_permute2x128_si256::<0x20>(a, b);
            seconds[j] = _mm256_permute2x128_si256::<0x31>(a, b);
            x_scales[j] = _mm256_set_m128(_mm_set1_ps(scale_b), _mm_set1_ps(scale_a));
            if MINIMUM {
                // SAFETY: both groups are the row's.
                let (a, b) =
                    unsafe { (*x[j].shares.get_unchecked(2 * pair), *x[j].shares.get_unchecked(2 * pair + 1)) };
                x_sums[j] = _mm256_zextps128_ps256(_mm_setr_ps(0., a, 0., b));
            } else {
                // In each of four lanes, a quarter of 8 times the sum.
                lacks[j] = _mm256_set_m128i(_mm_set1_epi32(2 * sum_b), _mm_set1_epi32(2 * sum_a));
            }
        }
        for i in 0..W {
            // SAFETY: both blocks are the row's.
            let (quants, factors) = unsafe {
                let a = weights[i].as_ptr().add(pair * 2 * bytes);
                let b = a.add(bytes);
                let quants = _mm256_set_m128i(load_half(b.add(quants_at)), load_half(a.add(quants_at)));
                let factors = match MINIMUM {
                    true => _mm_insert_epi32::<1>(_mm_cvtsi32_si128(read(a)), read(b)),
                    false => {
                        let first = _mm_cvtsi32_si128(read::<u16>(a).into());
                        _mm_insert_epi16::<1>(first, read::<u16>(b).into())
                    }
                };
                (quants, _mm256_zextps128_ps256(_mm_cvtph_ps(factors)))
            };
            let lower = _mm256_and_si256(quants, fifteen);
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(quants), fifteen);
            let scales = _mm256_permutevar8x32_ps(factors, spread);
            for j in 0..X {
                let pairs =
                    _mm256_add_epi16(_mm256_maddubs_epi16(lower, firsts[j]), _mm256_maddubs_epi16(upper, seconds[j]));
                let mut products = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
                if MINIMUM {
                    totals[i][j] = _mm256_fmadd_ps(factors, x_sums[j], totals[i][j]);
                } else {
                    products = _mm256_sub_epi32(products, lacks[j]);
                }
                let scales = _mm256_mul_ps(scales, x_scales[j]);
                totals[i][j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scales, totals[i][j]);
            }
        }
    }
    let mut sums = sums(totals);
    if groups % 2 == 1 {
        let format = if MINIMUM { BlockFormat::Q4_1 } else { BlockFormat::Q4_0 };
        for i in 0..W {
            for j in 0..X {
                sums[i][j] += portable::dot(format, &weights[i][(groups - 1) * bytes..], x[j].last());
            }
        }
    }
    sums
}

impl Dots for Q4_0 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dots<const W: usize, const X: usize>(weights: [&[u8]; W], x: [Row<'_>; X]) -> [[f32; X]; W] {
        // SAFETY: as the caller promises.
        unsafe { four_bits::<false, W, X>(weights, x) }
    }
}

impl Dots for Q4_1 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dots<const W: usize, const X: usize>(weights: [&[u8]; W], x: [Row<'_>; X]) -> [[f32; X]; W] {
        // SAFETY: as the caller promises.
        unsafe { four_bits::<true, W, X>(weights, x) }
    }
}

/// Lane `at` in all lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn lane(values: __m256, at: usize) -> __m256 {
    _mm256_permutevar8x32_ps(values, _mm256_set1_epi32(at as i32))
}

impl Dots for Q4K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dots<const W: usize, const X: usize>(weights: [&[u8]; W], x: [Row<'_>; X]) -> [[f32; X]; W] {
        let fifteen = _mm256_set1_epi8(15);
        let mut totals = [[_mm256_setzero_ps(); X]; W];
        for at in 0..x[0].scales.len() / 8 {
            for i in 0..W {
                // SAFETY: the block is one of the row's.
                let (block, factors, packed) = unsafe {
                    let block = weights[i].as_ptr().add(at * 144);
                    (block, _mm_cvtph_ps(_mm_cvtsi32_si128(read(block))), read::<[u32; 3]>(block.add(4)))
                };
                let (scales, minima) = scales_and_minima(packed);
                let scales = _mm256_mul_ps(scales, _mm256_broadcastss_ps(factors));
                let minima = _mm256_mul_ps(minima, _mm256_broadcastss_ps(_mm_movehdup_ps(factors)));
                let mut group_scales = [_mm256_setzero_ps(); X];
                for j in 0..X {
                    // SAFETY: the eight groups are the row's.
                    let (x_scales, x_sums) = unsafe {
                        (
                            _mm256_loadu_ps(x[j].scales.as_ptr().add(8 * at)),
                            _mm256_loadu_ps(x[j].shares.as_ptr().add(8 * at)),
                        )
                    };
                    totals[i][j] = _mm256_fnmadd_ps(minima, x_sums, totals[i][j]);
                    group_scales[j] = _mm256_mul_ps(scales, x_scales);
                }
                for pair in 0..4 {
                    // SAFETY: the 32 bytes are the block's.
                    let quants = unsafe { load(block.add(16 + GROUP * pair)) };
                    let lower = _mm256_and_si256(quants, fifteen);
                    let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(quants), fifteen);
                    for j in 0..X {
                        // SAFETY: the two groups are the row's.
                        let (a, b) = unsafe {
                            let quants = x[j].quants.as_ptr().add(256 * at + 2 * GROUP * pair);
                            (load(quants), load(quants.add(GROUP)))
                        };
                        let a = fours(_mm256_maddubs_epi16(lower, a));
                        let b = fours(_mm256_maddubs_epi16(upper, b));
                        totals[i][j] = _mm256_fmadd_ps(a, lane(group_scales[j], 2 * pair), totals[i][j]);
                        totals[i][j] = _mm256_fmadd_ps(b, lane(group_scales[j], 2 * pair + 1), totals[i][j]);
                    }
                }
            }
        }
        sums(totals)
    }
}

/// The eight 6-bit scales and minima of a Q4_K block: `group::scale_and_minimum` for all at once.
#[inline]
#[target_feature(enable = "avx2")]
fn scales_and_minima([a, b, c]: [u32; 3]) -> (__m256, __m256) {
    const SIX: u32 = 0x3f3f_3f3f;
    const FOUR: u32 = 0x0f0f_0f0f;
    const TWO: u32 = 0x0303_0303;
    let eight = |first: u32, last: u32| {
        let bytes = _mm_cvtsi64_si128((u64::from(last) << 32 | u64::from(first)) as i64);
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
    };
    (eight(a & SIX, c & FOUR | (a >> 6 & TWO) << 4), eight(b & SIX, c >> 4 & FOUR | (b >> 6 & TWO) << 4))
}

impl Dots for Q6K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dots<const W: usize, const X: usize>(weights: [&[u8]; W], x: [Row<'_>; X]) -> [[f32; X]; W] {
        let fifteen = _mm256_set1_epi8(15);
        let pair_of_bits = _mm256_set1_epi8(0x30);
        let zero = _mm256_set1_epi8(32);
        let mut totals = [[_mm256_setzero_ps(); X]; W];
        for at in 0..x[0].scales.len() / 8 {
            for i in 0..W {
                // SAFETY: the block is one of the row's.
                let (block, d, scales) = unsafe {
                    let block = weights[i].as_ptr().add(at * 210);
                    (block, _mm256_cvtph_ps(_mm_set1_epi16(read(block.add(208)))), load_half(block.add(192)))
                };
                let mut group_scales = [_mm256_setzero_ps(); X];
                for j in 0..X {
                    // SAFETY: the eight groups are the row's.
                    group_scales[j] = _mm256_mul_ps(d, unsafe { _mm256_loadu_ps(x[j].scales.as_ptr().add(8 * at)) });
                }
                for half in 0..2 {
                    // SAFETY: the bytes are the block's.
                    let (a, b, upper) = unsafe {
                        let lower = block.add(64 * half);
                        (load(lower), load(lower.add(32)), load(block.add(128 + 32 * half)))
                    };
                    let quarters = [
                        (a, _mm256_slli_epi16::<4>(upper)),
                        (b, _mm256_slli_epi16::<2>(upper)),
                        (_mm256_srli_epi16::<4>(a), upper),
                        (_mm256_srli_epi16::<4>(b), _mm256_srli_epi16::<2>(upper)),
                    ];
                    for (quarter, (lower, upper)) in quarters.into_iter().enumerate() {
                        let group = 4 * half + quarter;
                        let quants =
                            _mm256_or_si256(_mm256_and_si256(lower, fifteen), _mm256_and_si256(upper, pair_of_bits));
                        let quants = _mm256_sub_epi8(quants, zero);
                        let unsigned = _mm256_abs_epi8(quants);
                        // The scales of the group's halves, eight times each.
                        let place = _mm_set1_epi64x(0x0101_0101_0101_0101 * (2 * group as i64));
                        let place = _mm_add_epi8(place, _mm_set_epi64x(0x0101_0101_0101_0101, 0));
                        let scales = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, place));
                        for j in 0..X {
                            // SAFETY: the group is one of the row's.
                            let x = unsafe { load(x[j].quants.as_ptr().add(256 * at + GROUP * group)) };
                            let pairs = _mm256_maddubs_epi16(unsigned, _mm256_sign_epi8(x, quants));
                            let products = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, scales));
                            totals[i][j] = _mm256_fmadd_ps(products, lane(group_scales[j], group), totals[i][j]);
                        }
                    }
                }
            }
        }
        sums(totals)
    }
}
