//! The two inner loops of a few queries in AVX2 and FMA: what is read of keys and values serves up to three queries.

use std::arch::x86_64::*;

use super::few::BLOCK;

/// Keys at a time: with three queries their sums, and what goes into them, just fit the registers.
const KEYS: usize = 4;
/// Channels of values at a time.
const CHANNELS: usize = 32;

/// Whether rows of this width are whole numbers of what is taken at once.
pub(super) fn takes(head_dim: usize) -> bool {
    head_dim.is_multiple_of(CHANNELS)
}

/// The scores that `count` keys, `stride` apart, give each query, and perhaps some numbers after them; `next` is what
/// will be read next, at the same distances.
#[target_feature(enable = "avx2,fma")]
pub(super) fn scores<const Q: usize>(
    queries: [&[f32]; Q],
    (keys, stride): (&[f32], usize),
    (next, next_stride): (&[f32], usize),
    count: usize,
    mut scores: [&mut [f32; BLOCK]; Q],
) {
    let width = queries[0].len();
    assert!(takes(width) && queries.iter().all(|query| query.len() == width));
    assert!(0 < count && count <= BLOCK && (count - 1) * stride + width <= keys.len());
    for first in (0..count).step_by(KEYS) {
        // The last keys may be fewer: the last one is repeated.
        let place = |nth: usize| (first + nth).min(count - 1);
        let rows: [*const f32; KEYS] = std::array::from_fn(|nth| {
            for line in (0..width).step_by(16) {
                _mm_prefetch::<_MM_HINT_T0>(next.as_ptr().wrapping_add(place(nth) * next_stride + line).cast());
            }
            // SAFETY: the row is inside the keys, and ends there at the latest.
            unsafe { keys.as_ptr().add(place(nth) * stride) }
        });
        let mut sums = [[_mm256_setzero_ps(); KEYS]; Q];
        for at in (0..width).step_by(8) {
            // SAFETY: eight more values are each query's.
            let queries: [__m256; Q] = std::array::from_fn(|q| unsafe { _mm256_loadu_ps(queries[q].as_ptr().add(at)) });
            for (nth, row) in rows.into_iter().enumerate() {
                // SAFETY: as above, and the row's.
                let key = unsafe { _mm256_loadu_ps(row.add(at)) };
                for (sums, query) in sums.iter_mut().zip(queries) {
                    sums[nth] = _mm256_fmadd_ps(query, key, sums[nth]);
                }
            }
        }
        for (scores, [a, b, c, d]) in scores.iter_mut().zip(sums) {
            let pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let four = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
            let place: &mut [f32] = &mut scores[first..first + KEYS];
            // SAFETY: there is room for four.
            unsafe { _mm_storeu_ps(place.as_mut_ptr(), four) };
        }
    }
}

/// Adds values, `stride` apart, to each query's sums, by its `count` weights.
#[target_feature(enable = "avx2,fma")]
pub(super) fn mix<const Q: usize>(
    weights: [&[f32; BLOCK]; Q],
    (values, stride): (&[f32], usize),
    count: usize,
    mut mixed: [&mut [f32]; Q],
) {
    let width = mixed[0].len();
    assert!(takes(width) && mixed.iter().all(|mixed| mixed.len() == width));
    assert!(0 < count && count <= BLOCK && (count - 1) * stride + width <= values.len());
    for first in (0..width).step_by(CHANNELS) {
        let mut sums = [[_mm256_setzero_ps(); 4]; Q];
        for key in 0..count {
            // SAFETY: the 32 values are the row's, which is inside the values.
            let value: [__m256; 4] = std::array::from_fn(|part| unsafe {
                _mm256_loadu_ps(values.as_ptr().add(key * stride + first + 8 * part))
            });
            for (sums, weights) in sums.iter_mut().zip(weights) {
                let weight = _mm256_set1_ps(weights[key]);
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = _mm256_fmadd_ps(weight, value, *sum);
                }
            }
        }
        for (mixed, sums) in mixed.iter_mut().zip(sums) {
            for (mixed, sum) in mixed[first..first + CHANNELS].as_chunks_mut::<8>().0.iter_mut().zip(sums) {
                // SAFETY: there are eight values.
                unsafe { _mm256_storeu_ps(mixed.as_mut_ptr(), _mm256_add_ps(_mm256_loadu_ps(mixed.as_ptr()), sum)) };
            }
        }
    }
}
