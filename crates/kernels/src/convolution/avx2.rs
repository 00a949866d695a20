//! The block of `separate` in AVX2 and FMA.

use std::arch::x86_64::*;

use super::Finish;
use super::separate::{LANES, ROWS, Taps};

/// Seven rows of eight places.
///
/// # Safety
///
/// There is a weight for each tap, `x` has as many values as the taps need, and `y` has eight places in each of seven
/// rows, `columns` values from one to the next.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn block(x: &[f32], taps: &Taps, weights: &[f32], finish: Finish, columns: usize, y: &mut [f32]) {
    debug_assert!(x.len() >= taps.needs() && y.len() >= (ROWS - 1) * columns + LANES);
    let mut sums = [_mm256_setzero_ps(); ROWS];
    for (offset, weight) in taps.offsets().iter().zip(weights) {
        let weight = _mm256_set1_ps(*weight);
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a tap with the rows below it is within what the taps need.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(offset + row * taps.row())) };
            *sum = _mm256_fmadd_ps(x, weight, *sum);
        }
    }
    let [scale, shift, least, most] = finish.map(|value| _mm256_set1_ps(value));
    for (row, sum) in sums.into_iter().enumerate() {
        // Of two values one of which is NaN, both instructions give the second.
        let value = _mm256_min_ps(most, _mm256_max_ps(least, _mm256_fmadd_ps(sum, scale, shift)));
        // SAFETY: the caller says that there is room.
        unsafe { _mm256_storeu_ps(y.as_mut_ptr().add(row * columns), value) };
    }
}
