//! Cross-entropy of rows of logits at one class each.

use crate::lanes;
use crate::level::level;
use crate::math;
use crate::parallel;

/// Values that a thread takes the exponential of in a nanosecond, about.
const SPEED: usize = 1;

vectorised! {
    /// `ln(sum(e^x))` of each row.
    fn log_sum_exp_at<M>(x: &[f32], width: usize, out: &mut [f32]) {
        for (row, out) in x.chunks_exact(width).zip(out) {
            let max = lanes::max(row);
            let sum = lanes::fold(row, 0.0, |sum, x| sum + math::exp_negative::<M>(x - max), |a, b| a + b);
            *out = max + sum.ln();
        }
    }
}

vectorised! {
    fn backward_at<M>(x: &[f32], targets: &[u32], sums: &[f32], scales: &[f32], width: usize, out: &mut [f32]) {
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for ((((row, out), target), sum), scale) in rows.zip(targets).zip(sums).zip(scales) {
            for (x, out) in row.iter().zip(out.iter_mut()) {
                let x = *x - *sum;
                // Rounding may have left the sum below the greatest value.
                *out = math::exp_negative::<M>(if x > 0.0 { 0.0 } else { x }) * *scale;
            }
            out[*target as usize] -= *scale;
        }
    }
}

/// `ln(sum(e^x)) - x[target]` of each row, which is `-ln(softmax(x)[target])`.
///
/// # Shapes
///
/// - `x`: `[rows, width]`, `targets`: `[rows]`
/// - `out` and `sums`: `[rows]`, overwritten; `sums` with the first of the two terms, which the gradient needs
///
/// # Panics
///
/// If the lengths do not fit each other, or a target is no class.
pub fn cross_entropy(x: &[f32], targets: &[u32], width: usize, out: &mut [f32], sums: &mut [f32]) {
    check(x, targets, width);
    assert!(out.len() == targets.len() && sums.len() == targets.len(), "one value a row");
    parallel::rows(sums, 1, width / SPEED, |first, sums| {
        let x = &x[first * width..(first + sums.len()) * width];
        log_sum_exp_at(level(), x, width, sums);
    });
    for (((out, sum), target), row) in out.iter_mut().zip(sums).zip(targets).zip(x.chunks_exact(width)) {
        *out = *sum - row[*target as usize];
    }
}

/// The gradient of [`cross_entropy`], of the output's.
///
/// # Shapes
///
/// - `x`: `[rows, width]`, `targets`, `sums` and `grad`: `[rows]`, `out`: `[rows, width]`, overwritten
///
/// # Panics
///
/// If the lengths do not fit each other, or a target is no class.
pub fn cross_entropy_backward(x: &[f32], targets: &[u32], sums: &[f32], grad: &[f32], width: usize, out: &mut [f32]) {
    check(x, targets, width);
    assert!(grad.len() == targets.len() && sums.len() == targets.len(), "one value a row");
    assert_eq!(x.len(), out.len(), "the lengths must be the same");
    parallel::rows(out, width, width / SPEED, |first, out| {
        let rows = first..first + out.len() / width;
        let x = &x[rows.start * width..rows.end * width];
        backward_at(level(), x, &targets[rows.clone()], &sums[rows.clone()], &grad[rows], width, out);
    });
}

fn check(x: &[f32], targets: &[u32], width: usize) {
    assert_eq!(x.len(), targets.len() * width, "{} rows of {width} logits", targets.len());
    assert!(targets.iter().all(|target| (*target as usize) < width), "a target is none of {width} classes");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::level::Level;
    use crate::testing::{assert_close, values, wide};

    /// The loss of one row and its slopes.
    fn exact(row: &[f64], target: usize) -> (f64, Vec<f64>) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        let share = |(at, x): (usize, &f64)| (x - max).exp() / sum - f64::from(at == target);
        (sum.ln() + max - row[target], row.iter().enumerate().map(share).collect())
    }

    proptest! {
        #[test]
        fn values_and_gradients_are_those_of_f64(rows in 0usize..4, width in 1usize..150, scale in 0f32..30.0) {
            let x: Vec<f32> = values(rows * width, 3).iter().map(|x| x * scale).collect();
            let targets: Vec<u32> = (0..rows).map(|row| ((row * 7 + 3) % width) as u32).collect();
            let grad = values(rows, 4);
            for level in Level::available() {
                let (mut sums, mut out) = (vec![0.0; rows], vec![0.0; x.len()]);
                log_sum_exp_at(level, &x, width, &mut sums);
                backward_at(level, &x, &targets, &sums, &grad, width, &mut out);
                for (at, row) in wide(&x).chunks(width).enumerate() {
                    let (loss, slopes) = exact(row, targets[at] as usize);
                    assert_close(&[sums[at]], &[loss + row[targets[at] as usize]], 1e-6, 1e-6, "sum");
                    let slopes: Vec<f64> = slopes.iter().map(|slope| slope * f64::from(grad[at])).collect();
                    // The sum is an f32: at logits of about 100 it is rounded by 4e-6, and so is each share.
                    assert_close(&out[at * width..][..width], &slopes, 2e-5, 1e-5, "gradient");
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_anything() {
        let (rows, width) = (90, 4097);
        let (x, grad) = (values(rows * width, 1), values(rows, 2));
        let targets: Vec<u32> = (0..rows as u32).collect();
        let (mut out, mut sums, mut expected) = (vec![0.0; rows], vec![0.0; rows], vec![0.0; rows]);
        cross_entropy(&x, &targets, width, &mut out, &mut sums);
        log_sum_exp_at(level(), &x, width, &mut expected);
        assert_eq!(sums, expected);
        assert_eq!(out[5], sums[5] - x[5 * width + 5]);
        let (mut found, mut expected) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        cross_entropy_backward(&x, &targets, &sums, &grad, width, &mut found);
        backward_at(level(), &x, &targets, &sums, &grad, width, &mut expected);
        assert!(found == expected);
        cross_entropy(&[], &[], 3, &mut [], &mut []);
    }

    #[test]
    #[should_panic = "a target is none of 3 classes"]
    fn another_class_is_refused() {
        cross_entropy(&[0.0; 3], &[3], 3, &mut [0.0], &mut [0.0]);
    }
}
