//! The two inner loops in AVX2 and FMA: left to itself, the compiler now and then spills their sums.

use std::arch::x86_64::*;

use super::{LANES, OUTPUTS, Panel, WEIGHTS};

/// The products of six rows of weights with the 16 rows of a panel.
#[target_feature(enable = "avx2,fma")]
pub(super) fn tile(panel: &[Panel], weights: &[&[f32]; OUTPUTS], out: &mut [[f32; LANES]; OUTPUTS]) {
    let weights = weights.map(|weights| weights[..panel.len()].as_ptr());
    let mut sums = [[_mm256_setzero_ps(); 2]; OUTPUTS];
    for (at, panel) in panel.iter().enumerate() {
        // SAFETY: a panel has 16 values.
        let x = unsafe { [_mm256_loadu_ps(panel.as_ptr()), _mm256_loadu_ps(panel.as_ptr().add(8))] };
        for (sums, weights) in sums.iter_mut().zip(weights) {
            // SAFETY: each row of weights has as many values as there are panels.
            let weight = _mm256_set1_ps(unsafe { *weights.add(at) });
            sums[0] = _mm256_fmadd_ps(x[0], weight, sums[0]);
            sums[1] = _mm256_fmadd_ps(x[1], weight, sums[1]);
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        // SAFETY: there is room for 16 values.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), sums[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), sums[1]);
        }
    }
}

/// The products of one row with four rows of weights, which lie one after the other.
#[target_feature(enable = "avx2,fma")]
pub(super) fn dots(x: &[f32], weights: &[f32], out: &mut [f32; WEIGHTS]) {
    let inputs = x.len();
    let rows: [&[f32]; WEIGHTS] = std::array::from_fn(|row| &weights[row * inputs..][..inputs]);
    let mut sums = [[_mm256_setzero_ps(); 2]; WEIGHTS];
    let whole = inputs / 16 * 16;
    for at in (0..whole).step_by(16) {
        for half in 0..2 {
            // SAFETY: `at + 16` is at most `inputs`, the length of `x` and of each row.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(at + 8 * half)) };
            for (sums, row) in sums.iter_mut().zip(rows) {
                // SAFETY: as above.
                let row = unsafe { _mm256_loadu_ps(row.as_ptr().add(at + 8 * half)) };
                sums[half] = _mm256_fmadd_ps(x, row, sums[half]);
            }
        }
    }
    for ((out, sums), row) in out.iter_mut().zip(sums).zip(rows) {
        let rest = x[whole..].iter().zip(&row[whole..]).fold(0.0f32, |sum, (x, row)| x.mul_add(*row, sum));
        *out = sum(_mm256_add_ps(sums[0], sums[1])) + rest;
    }
}

#[target_feature(enable = "avx2")]
fn sum(x: __m256) -> f32 {
    let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
}
