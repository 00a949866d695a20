//! Six rows of weights times 16 or 8 columns: what products of matrices and convolutions spend their time in.

#[cfg(target_arch = "x86_64")]
mod avx2;

use crate::level::{Level, MulAdd};

/// Columns that are multiplied at once.
pub(crate) const LANES: usize = 16;
/// Columns of the narrow tile, for what remains.
pub(crate) const HALF: usize = 8;
/// Rows of weights that are summed at once: with [`LANES`] columns their sums just fit AVX2's registers.
pub(crate) const ROWS: usize = 6;

/// The sums of a tile; the narrow one leaves the upper lanes as they are.
pub(crate) type Sums = [[f32; LANES]; ROWS];

/// The products of six rows of weights with 16 columns, or 8 if `narrow`, which begin at `x` and have `stride` values
/// from one row to the next.
pub(crate) fn tile(
    level: Level,
    narrow: bool,
    x: &[f32],
    stride: usize,
    weights: &[&[f32]; ROWS],
    out: &mut [[f32; LANES]; ROWS],
) {
    let depth = weights[0].len();
    let lanes = if narrow { HALF } else { LANES };
    assert!(weights.iter().all(|row| row.len() == depth), "rows of weights of one length");
    assert!(depth > 0 && x.len() >= (depth - 1) * stride + lanes, "as many columns as the tile has lanes");
    match (level, narrow) {
        // SAFETY: a level is only taken after its features have been found; the lengths have been checked.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2 | Level::Avx512, false) => unsafe { avx2::wide(x, stride, weights, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2 | Level::Avx512, true) => unsafe { avx2::narrow(x, stride, weights, out) },
        (_, false) => wide_at(level, x, stride, weights, out),
        (_, true) => narrow_at(level, x, stride, weights, out),
    }
}

vectorised! {
    fn wide_at<M>(x: &[f32], stride: usize, weights: &[&[f32]; 6], out: &mut [[f32; 16]; 6]) {
        sum::<M, LANES>(x, stride, weights, out);
    }
}

vectorised! {
    fn narrow_at<M>(x: &[f32], stride: usize, weights: &[&[f32]; 6], out: &mut [[f32; 16]; 6]) {
        sum::<M, HALF>(x, stride, weights, out);
    }
}

#[inline(always)]
fn sum<M: MulAdd, const WIDTH: usize>(x: &[f32], stride: usize, weights: &[&[f32]; ROWS], out: &mut Sums) {
    let mut sums = [[0.0f32; WIDTH]; ROWS];
    let depth = weights[0].len();
    let weights: [&[f32]; ROWS] = std::array::from_fn(|row| &weights[row][..depth]);
    for at in 0..depth {
        let x = &x[at * stride..][..WIDTH];
        for row in 0..ROWS {
            let weight = weights[row][at];
            for lane in 0..WIDTH {
                sums[row][lane] = M::mul_add(x[lane], weight, sums[row][lane]);
            }
        }
    }
    out.iter_mut().zip(sums).for_each(|(out, sums)| out[..WIDTH].copy_from_slice(&sums));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, values, wide};

    proptest! {
        #[test]
        fn products_are_those_of_f64(depth in 1usize..50, more in 0usize..20, narrow: bool, seed: u64) {
            let lanes = if narrow { HALF } else { LANES };
            let stride = lanes + more;
            // Not a value more than the tile may read.
            let (x, weight) = (values((depth - 1) * stride + lanes, seed), values(ROWS * depth, seed ^ 1));
            let rows = std::array::from_fn(|row| &weight[row * depth..][..depth]);
            let (x64, weight64) = (wide(&x), wide(&weight));
            for level in Level::available() {
                let mut sums = [[7.0; LANES]; ROWS];
                tile(level, narrow, &x, stride, &rows, &mut sums);
                for (row, sums) in sums.iter().enumerate() {
                    let product = |lane, at| x64[at * stride + lane] * weight64[row * depth + at];
                    let expected: Vec<f64> = (0..lanes).map(|lane| (0..depth).map(|at| product(lane, at)).sum()).collect();
                    assert_close(&sums[..lanes], &expected, 1e-5, 1e-4, level.name());
                    prop_assert!(sums[lanes..].iter().all(|sum| *sum == 7.0));
                }
            }
        }
    }
}
