//! Sums and maxima over slices, in a fixed order that vectors can follow.

use crate::level::MulAdd;

/// Sums are kept in this many places, so that they add up in vectors and lose less.
const LANES: usize = 32;

/// Folds every value into one of [`LANES`] sums, then those into one.
#[inline(always)]
pub(crate) fn fold(x: &[f32], start: f32, add: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [start; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            sums[i] = add(sums[i], block[i]);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum = add(*sum, *x);
    }
    joined(sums, join)
}

/// The sum of `x · y`; what either has more is left out.
#[inline(always)]
pub(crate) fn dot<M: MulAdd>(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            sums[i] = M::mul_add(x[i], y[i], sums[i]);
        }
    }
    for ((sum, x), y) in sums.iter_mut().zip(x_rest).zip(y_rest) {
        *sum = M::mul_add(*x, *y, *sum);
    }
    joined(sums, |a, b| a + b)
}

#[inline(always)]
fn joined(mut sums: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] = join(sums[i], sums[i + half]);
        }
        half /= 2;
    }
    sums[0]
}

/// The greatest value; NaN may be passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    fold(x, f32::NEG_INFINITY, greater, greater)
}
