//! Products of many rows of activations with AVX2: a panel of weights stays in the nearest cache, and each of its
//! vectors is multiplied with four rows.
//!
//! A lane is one output, so nothing is added across lanes. Four bits are added up in 16 bits over a whole group:
//! 8 · 2 · 15 · 127 = 30,480 does not saturate.

use std::arch::x86_64::*;
use std::ops::Range;

use super::QuantizedMatrix;
use super::activations::Activations;
use super::group::{GROUP, with_blocks};
use super::panel::{GROUPS, OUTPUTS, Pack, Panel};
use crate::output::Output;

/// Rows of activations at a time.
const ROWS: usize = 4;

/// Some outputs of quantized weights for all rows of `x`.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; no other thread writes these outputs.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn many_rows(x: &Activations, weight: &QuantizedMatrix, outputs: Range<usize>, y: Output) {
    // SAFETY: as the caller promises.
    with_blocks!(weight.format(), B => unsafe { panels::<B>(x, weight, outputs, y) }, ());
}

/// # Safety
/// As [`many_rows`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn panels<B: Pack>(x: &Activations, weight: &QuantizedMatrix, outputs: Range<usize>, y: Output) {
    let (bytes, row_bytes) = (weight.bytes(), weight.row_bytes());
    let groups = weight.columns() / GROUP;
    let mut panel = Panel::new::<B>();
    for start in outputs.clone().step_by(OUTPUTS) {
        let these = start..outputs.end.min(start + OUTPUTS);
        for first in (0..groups).step_by(GROUPS) {
            let count = GROUPS.min(groups - first);
            panel.fill::<B>(
                bytes[these.start * row_bytes..these.end * row_bytes].chunks_exact(row_bytes),
                first,
                count,
            );
            let mut row = 0;
            while row < x.rows() {
                // SAFETY: as the caller promises; these rows, outputs and groups are there.
                unsafe {
                    match x.rows() - row {
                        1 => tile::<B, 1>(&panel, x, row, first, count, these.clone(), y),
                        2 => tile::<B, 2>(&panel, x, row, first, count, these.clone(), y),
                        3 => tile::<B, 3>(&panel, x, row, first, count, these.clone(), y),
                        _ => tile::<B, ROWS>(&panel, x, row, first, count, these.clone(), y),
                    }
                }
                row += ROWS;
            }
        }
    }
}

/// `X` rows from `row` on times the panel, which has `count` groups from `first` on; added to what the groups before
/// gave.
///
/// # Safety
/// As [`many_rows`]; the rows have these groups, and so has the panel.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<B: Pack, const X: usize>(
    panel: &Panel,
    x: &Activations,
    row: usize,
    first: usize,
    count: usize,
    outputs: Range<usize>,
    y: Output,
) {
    assert!(panel.scales.len() >= count && panel.words.len() >= count * B::STEPS);
    let rows: [_; X] = std::array::from_fn(|j| x.row(row + j));
    assert!(rows[0].scales.len() >= first + count);
    let wide: [_; X] = std::array::from_fn(|j| x.wide_row(row + j));
    assert!(B::STEPS == 8 || wide.iter().all(|wide| wide.len() >= (first + count) * GROUP));
    let ones = _mm256_set1_epi16(1);
    let mut totals = [[_mm256_setzero_ps(); 2]; X];
    for at in 0..count {
        let mut sums = [[_mm256_setzero_si256(); 2]; X];
        for step in 0..B::STEPS {
            // SAFETY: the step's 64 bytes are the panel's.
            let words = unsafe {
                let words = panel.words.as_ptr().add(at * B::STEPS + step).cast::<__m256i>();
                [_mm256_loadu_si256(words), _mm256_loadu_si256(words.add(1))]
            };
            for j in 0..X {
                // SAFETY: the four bytes are the row's: a step of four values of eight bits, or of two of 16.
                let value = unsafe {
                    let from = match B::STEPS {
                        8 => rows[j].quants.as_ptr().add((first + at) * GROUP + 4 * step).cast::<i32>(),
                        _ => wide[j].as_ptr().add((first + at) * GROUP + 2 * step).cast::<i32>(),
                    };
                    _mm256_set1_epi32(from.read_unaligned())
                };
                for half in 0..2 {
                    sums[j][half] = match B::STEPS {
                        8 => _mm256_add_epi16(sums[j][half], _mm256_maddubs_epi16(words[half], value)),
                        _ => _mm256_add_epi32(sums[j][half], _mm256_madd_epi16(words[half], value)),
                    };
                }
            }
        }
        // SAFETY: the panel has these groups.
        let (scales, offsets) = unsafe {
            let scales = panel.scales.as_ptr().add(at).cast::<f32>();
            let offsets = panel.offsets.as_ptr().add(at).cast::<f32>();
            (
                [_mm256_loadu_ps(scales), _mm256_loadu_ps(scales.add(8))],
                [_mm256_loadu_ps(offsets), _mm256_loadu_ps(offsets.add(8))],
            )
        };
        for j in 0..X {
            // SAFETY: the rows have these groups.
            let (x_scale, x_share) = unsafe {
                let (scales, shares) = (rows[j].scales, rows[j].shares);
                let at = first + at;
                (_mm256_set1_ps(*scales.get_unchecked(at)), _mm256_set1_ps(*shares.get_unchecked(at)))
            };
            for half in 0..2 {
                let sum = match B::STEPS {
                    8 => _mm256_madd_epi16(sums[j][half], ones),
                    _ => sums[j][half],
                };
                let scale = _mm256_mul_ps(scales[half], x_scale);
                totals[j][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, totals[j][half]);
                if B::SHIFTED {
                    totals[j][half] = _mm256_fmadd_ps(offsets[half], x_share, totals[j][half]);
                }
            }
        }
    }
    for (j, total) in totals.iter().enumerate() {
        let mut values = [0.; OUTPUTS];
        // SAFETY: both halves are inside; no other thread has these outputs.
        let place = unsafe {
            _mm256_storeu_ps(values.as_mut_ptr(), total[0]);
            _mm256_storeu_ps(values.as_mut_ptr().add(8), total[1]);
            y.part(row + j, outputs.clone())
        };
        if first == 0 {
            place.copy_from_slice(&values[..place.len()]);
        } else {
            place.iter_mut().zip(values).for_each(|(place, value)| *place += value);
        }
    }
}
