//! The tiles in AVX2 and FMA: left to itself, the compiler now and then spills their sums.

use std::arch::x86_64::*;

use super::{HALF, LANES, ROWS, Sums};

/// The products of six rows of weights with 16 columns.
///
/// # Safety
///
/// All rows of weights have the length of the first, and `x` has 16 values from `at · stride` on for each place `at` in
/// it.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn wide(x: &[f32], stride: usize, weights: &[&[f32]; ROWS], out: &mut Sums) {
    debug_assert!(x.len() >= (weights[0].len() - 1) * stride + LANES);
    let depth = weights[0].len();
    let weights = weights.map(<[f32]>::as_ptr);
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for at in 0..depth {
        // SAFETY: the caller says that 16 values are there.
        let x = unsafe {
            let x = x.as_ptr().add(at * stride);
            [_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(HALF))]
        };
        for (sums, weights) in sums.iter_mut().zip(weights) {
            // SAFETY: the caller says that each row has `depth` values.
            let weight = _mm256_set1_ps(unsafe { *weights.add(at) });
            sums[0] = _mm256_fmadd_ps(x[0], weight, sums[0]);
            sums[1] = _mm256_fmadd_ps(x[1], weight, sums[1]);
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        // SAFETY: there is room for 16 values.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), sums[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(HALF), sums[1]);
        }
    }
}

/// The products of six rows of weights with 8 columns, even and odd places apart: six sums alone would wait for each
/// other.
///
/// # Safety
///
/// All rows of weights have the length of the first, and `x` has 8 values from `at · stride` on for each place `at` in
/// it.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn narrow(x: &[f32], stride: usize, weights: &[&[f32]; ROWS], out: &mut Sums) {
    debug_assert!(x.len() >= (weights[0].len() - 1) * stride + HALF);
    let depth = weights[0].len();
    let weights = weights.map(<[f32]>::as_ptr);
    let mut sums = [[_mm256_setzero_ps(); ROWS]; 2];
    let pairs = depth / 2 * 2;
    for first in (0..pairs).step_by(2) {
        for (odd, sums) in sums.iter_mut().enumerate() {
            let at = first + odd;
            // SAFETY: the caller says that 8 values are there.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(at * stride)) };
            for (sum, weights) in sums.iter_mut().zip(weights) {
                // SAFETY: the caller says that each row has `depth` values.
                *sum = _mm256_fmadd_ps(x, _mm256_set1_ps(unsafe { *weights.add(at) }), *sum);
            }
        }
    }
    if pairs < depth {
        // SAFETY: as above.
        let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(pairs * stride)) };
        for (sum, weights) in sums[0].iter_mut().zip(weights) {
            // SAFETY: as above.
            *sum = _mm256_fmadd_ps(x, _mm256_set1_ps(unsafe { *weights.add(pairs) }), *sum);
        }
    }
    for (row, out) in out.iter_mut().enumerate() {
        // SAFETY: there is room for 16 values.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_add_ps(sums[0][row], sums[1][row])) };
    }
}
