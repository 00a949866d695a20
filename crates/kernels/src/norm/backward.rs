//! The gradients of [`rms_norm`](super::rms_norm) and [`layer_norm`](super::layer_norm): those of the input in place
//! of the output's, and those of the weights apart, since most weights of norms are not trained.

use super::{SPEED, inverse_deviation, row_width};
use crate::lanes;
use crate::level::level;
use crate::parallel;

vectorised! {
    /// With `centred` as of [`layer_norm`](super::layer_norm), else as of [`rms_norm`](super::rms_norm).
    fn input_at<M>(x: &[f32], weight: &[f32], eps: f32, offset: f32, centred: bool, grad: &mut [f32]) {
        let width = weight.len();
        let share = 1.0 / width as f32;
        for (row, grad) in x.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
            let mean = if centred { lanes::fold(row, 0.0, |sum, x| sum + x, |a, b| a + b) * share } else { 0.0 };
            let scale = inverse_deviation::<M>(row, mean, eps);
            for (grad, weight) in grad.iter_mut().zip(weight) {
                *grad *= *weight + offset;
            }
            let sum = if centred { lanes::fold(grad, 0.0, |sum, x| sum + x, |a, b| a + b) } else { 0.0 };
            // Of what was normed, and what it and its mean square have in common.
            let slope = (lanes::dot::<M>(row, grad) - mean * sum) * scale * scale * share;
            for (grad, x) in grad.iter_mut().zip(row) {
                *grad = M::mul_add(-(*x - mean), slope, M::mul_add(-sum, share, *grad)) * scale;
            }
        }
    }
}

vectorised! {
    /// Adds `grad` times what was normed to `sums`.
    fn weight_at<M>(x: &[f32], eps: f32, centred: bool, grad: &[f32], sums: &mut [f32]) {
        let width = sums.len();
        for (row, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
            let sum = if centred { lanes::fold(row, 0.0, |sum, x| sum + x, |a, b| a + b) } else { 0.0 };
            let mean = sum / width as f32;
            let scale = inverse_deviation::<M>(row, mean, eps);
            for ((sum, x), grad) in sums.iter_mut().zip(row).zip(grad) {
                *sum = M::mul_add(*grad, (*x - mean) * scale, *sum);
            }
        }
    }
}

/// The gradient of [`rms_norm`](super::rms_norm): `grad` goes in as the output's and comes out as that of the
/// input `x`.
///
/// # Panics
///
/// If the lengths differ, or are no whole number of rows.
pub fn rms_norm_backward(x: &[f32], weight: &[f32], eps: f32, unit_offset: bool, grad: &mut [f32]) {
    input(x, weight, eps, f32::from(unit_offset), false, grad);
}

/// The gradient of [`layer_norm`](super::layer_norm): `grad` goes in as the output's and comes out as that of the
/// input `x`.
///
/// # Panics
///
/// If the lengths differ, or are no whole number of rows.
pub fn layer_norm_backward(x: &[f32], weight: &[f32], eps: f32, grad: &mut [f32]) {
    input(x, weight, eps, 0.0, true, grad);
}

/// The gradient of [`rms_norm`](super::rms_norm)'s weight, `[width]`, of the output's.
///
/// # Panics
///
/// If the lengths differ, or are no whole number of rows.
pub fn rms_norm_weight_backward(x: &[f32], eps: f32, grad: &[f32], out: &mut [f32]) {
    weight(x, eps, false, grad, out);
}

/// The gradients of [`layer_norm`](super::layer_norm)'s weight and bias, `[width]` each, of the output's.
///
/// # Panics
///
/// If the lengths differ, or are no whole number of rows.
pub fn layer_norm_weight_backward(x: &[f32], eps: f32, grad: &[f32], out: &mut [f32], bias: &mut [f32]) {
    assert_eq!(out.len(), bias.len(), "the bias must be as long as the weight");
    weight(x, eps, true, grad, out);
    let width = row_width(grad.len(), bias.len());
    parallel::sums(grad.len() / width, width / SPEED, bias, |rows, sums| {
        for grad in grad[rows.start * width..rows.end * width].chunks_exact(width) {
            sums.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
        }
    });
}

fn input(x: &[f32], weight: &[f32], eps: f32, offset: f32, centred: bool, grad: &mut [f32]) {
    assert_eq!(x.len(), grad.len(), "the lengths must be the same");
    let width = row_width(x.len(), weight.len());
    parallel::rows(grad, width, width / SPEED, |first, grad| {
        let x = &x[first * width..first * width + grad.len()];
        input_at(level(), x, weight, eps, offset, centred, grad);
    });
}

fn weight(x: &[f32], eps: f32, centred: bool, grad: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), grad.len(), "the lengths must be the same");
    let width = row_width(x.len(), out.len());
    parallel::sums(x.len() / width, width / SPEED, out, |rows, sums| {
        let part = rows.start * width..rows.end * width;
        weight_at(level(), &x[part.clone()], eps, centred, &grad[part], sums);
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::level::Level;
    use crate::norm::tests::norm_f64;
    use crate::testing::{assert_close, values};

    /// The slope of `sum(grad · norm(x))` by one value of `x`, `weight` or `bias`.
    fn slope([x, weight, bias]: [&[f32]; 3], centred: bool, offset: f64, grad: &[f32], which: usize, at: usize) -> f64 {
        let loss = |step: f32| {
            let mut inputs = [x, weight, bias].map(<[f32]>::to_vec);
            inputs[which][at] += step;
            let out = norm_f64(&inputs[0], centred, &inputs[1], &inputs[2], offset, 1e-3);
            let sum: f64 = out.iter().zip(grad).map(|(out, grad)| out * f64::from(*grad)).sum();
            (f64::from(inputs[which][at]), sum)
        };
        let ((above, high), (below, low)) = (loss(1e-3), loss(-1e-3));
        (high - low) / (above - below)
    }

    proptest! {
        #[test]
        fn gradients_are_slopes(rows in 1usize..5, width in 2usize..150, unit_offset: bool) {
            let (x, grad) = (values(rows * width, 3), values(rows * width, 4));
            let (weight, bias, none) = (values(width, 5), values(width, 6), vec![0.0; width]);
            let offset = f32::from(unit_offset);
            for level in Level::available() {
                for (centred, bias, offset) in [(false, &none, offset), (true, &bias, 0.0)] {
                    let (mut of_x, mut of_weight) = (grad.clone(), vec![0.0; width]);
                    input_at(level, &x, &weight, 1e-3, offset, centred, &mut of_x);
                    weight_at(level, &x, 1e-3, centred, &grad, &mut of_weight);
                    for at in [0, x.len() / 2, x.len() - 1] {
                        let inputs = [&x[..], &weight, bias];
                        let expected = slope(inputs, centred, offset.into(), &grad, 0, at);
                        assert_close(&[of_x[at]], &[expected], 1e-3, 1e-3, "input");
                        let expected = slope(inputs, centred, offset.into(), &grad, 1, at % width);
                        assert_close(&[of_weight[at % width]], &[expected], 1e-3, 1e-3, "weight");
                    }
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_much() {
        let (rows, width) = (700, 577);
        let (x, grad, weight) = (values(rows * width, 1), values(rows * width, 2), values(width, 3));
        let (mut found, mut expected) = (grad.clone(), grad.clone());
        layer_norm_backward(&x, &weight, 1e-5, &mut found);
        input_at(level(), &x, &weight, 1e-5, 0.0, true, &mut expected);
        assert!(found == expected);
        let (mut found, mut bias, mut expected) = (vec![1.0; width], vec![1.0; width], vec![0.0; width]);
        layer_norm_weight_backward(&x, 1e-5, &grad, &mut found, &mut bias);
        weight_at(level(), &x, 1e-5, true, &grad, &mut expected);
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        assert_close(&found, &expected, 1e-4, 1e-3, "weight");
        let column = |at: usize| grad.iter().skip(at).step_by(width).map(|x| f64::from(*x)).sum();
        assert_close(&bias, &(0..width).map(column).collect::<Vec<f64>>(), 1e-4, 1e-3, "bias");
        rms_norm_backward(&[], &[], 1e-5, false, &mut []);
    }

    #[test]
    #[should_panic = "7 values are no whole number of rows 3 wide"]
    fn part_of_a_row_is_refused() {
        rms_norm_weight_backward(&[0.0; 7], 1e-5, &[0.0; 7], &mut [0.0; 3]);
    }
}
