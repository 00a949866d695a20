//! Softmax over rows.

use crate::lanes;
use crate::level::level;
use crate::math;
use crate::parallel;

/// Values that a thread takes the softmax of in a nanosecond, about.
const SPEED: usize = 1;

vectorised! {
    fn softmax_at<M>(x: &mut [f32], width: usize) {
        for row in x.chunks_exact_mut(width) {
            let max = lanes::max(row);
            for x in row.iter_mut() {
                *x = math::exp_negative::<M>(*x - max);
            }
            let scale = 1.0 / lanes::fold(row, 0.0, |sum, x| sum + x, |a, b| a + b);
            for x in row {
                *x *= scale;
            }
        }
    }
}

vectorised! {
    fn softmax_backward_at<M>(y: &[f32], grad: &mut [f32], width: usize) {
        for (y, grad) in y.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
            for (grad, y) in grad.iter_mut().zip(y) {
                *grad *= *y;
            }
            let sum = lanes::fold(grad, 0.0, |sum, x| sum + x, |a, b| a + b);
            for (grad, y) in grad.iter_mut().zip(y) {
                *grad = M::mul_add(-sum, *y, *grad);
            }
        }
    }
}

/// `e^x / sum(e^x)` of each row in place. A row of nothing but `-∞` becomes NaN, as in PyTorch.
///
/// # Shapes
///
/// - `x`: `[rows, width]`
///
/// # Panics
///
/// If `x` is not a whole number of rows.
pub fn softmax(x: &mut [f32], width: usize) {
    assert!(x.len().is_multiple_of(width), "{} values are no whole number of rows {width} wide", x.len());
    parallel::rows(x, width, width / SPEED, |_, x| softmax_at(level(), x, width));
}

/// The gradient of [`softmax`], whose output was `y`: `grad` goes in as the output's and comes out as the input's.
///
/// # Panics
///
/// If the lengths differ, or are not a whole number of rows.
pub fn softmax_backward(y: &[f32], grad: &mut [f32], width: usize) {
    assert_eq!(y.len(), grad.len(), "the lengths must be the same");
    assert!(y.len().is_multiple_of(width), "{} values are no whole number of rows {width} wide", y.len());
    parallel::rows(grad, width, width / SPEED, |first, grad| {
        softmax_backward_at(level(), &y[first * width..first * width + grad.len()], grad, width);
    });
}

#[cfg(test)]
mod tests;
