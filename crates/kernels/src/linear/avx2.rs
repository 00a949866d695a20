//! The inner loop for few rows in AVX2 and FMA: left to itself, the compiler now and then spills its sums.

use std::arch::x86_64::*;

use super::WEIGHTS;

/// The products of one row with some rows of weights.
#[target_feature(enable = "avx2,fma")]
pub(super) fn dots(x: &[f32], weights: &[&[f32]; WEIGHTS], out: &mut [f32; WEIGHTS]) {
    let inputs = x.len();
    let rows = weights.map(|row| &row[..inputs]);
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
