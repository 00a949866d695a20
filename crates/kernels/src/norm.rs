//! Normalisation of rows, as wide as the weight is long.

mod backward;

use crate::lanes;
use crate::level::{MulAdd, level};
use crate::parallel;
pub use backward::{layer_norm_backward, layer_norm_weight_backward, rms_norm_backward, rms_norm_weight_backward};

/// Values that a thread norms in a nanosecond, about.
const SPEED: usize = 4;

/// `1 / sqrt(mean((x - mean)²) + eps)`
#[inline(always)]
fn inverse_deviation<M: MulAdd>(row: &[f32], mean: f32, eps: f32) -> f32 {
    let squares = lanes::fold(row, 0.0, |sum, x| M::mul_add(x - mean, x - mean, sum), |a, b| a + b);
    1.0 / (squares / row.len() as f32 + eps).sqrt()
}

vectorised! {
    fn rms_norm_at<M>(x: &mut [f32], weight: &[f32], eps: f32, offset: f32) {
        for row in x.chunks_exact_mut(weight.len()) {
            let scale = inverse_deviation::<M>(row, 0.0, eps);
            for (x, weight) in row.iter_mut().zip(weight) {
                *x = *x * scale * (*weight + offset);
            }
        }
    }
}

vectorised! {
    fn rms_norm_into_at<M>(x: &[f32], weight: &[f32], eps: f32, offset: f32, out: &mut [f32]) {
        for (row, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let scale = inverse_deviation::<M>(row, 0.0, eps);
            for ((x, weight), out) in row.iter().zip(weight).zip(out) {
                *out = *x * scale * (*weight + offset);
            }
        }
    }
}

vectorised! {
    fn add_rms_norm_at<M>(
        residual: &mut [f32], x: &[f32], weight: &[f32], eps: f32, offset: f32, out: &mut [f32],
    ) {
        let width = weight.len();
        let rows = residual.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(out.chunks_exact_mut(width));
        for ((row, x), out) in rows {
            for (sum, x) in row.iter_mut().zip(x) {
                *sum += *x;
            }
            let scale = inverse_deviation::<M>(row, 0.0, eps);
            for ((x, weight), out) in row.iter().zip(weight).zip(out) {
                *out = *x * scale * (*weight + offset);
            }
        }
    }
}

vectorised! {
    fn layer_norm_at<M>(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        for row in x.chunks_exact_mut(weight.len()) {
            let mean = lanes::fold(row, 0.0, |sum, x| sum + x, |a, b| a + b) / row.len() as f32;
            let scale = inverse_deviation::<M>(row, mean, eps);
            for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                *x = M::mul_add((*x - mean) * scale, *weight, *bias);
            }
        }
    }
}

vectorised! {
    fn layer_norm_into_at<M>(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        for (row, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let mean = lanes::fold(row, 0.0, |sum, x| sum + x, |a, b| a + b) / row.len() as f32;
            let scale = inverse_deviation::<M>(row, mean, eps);
            for (((x, weight), bias), out) in row.iter().zip(weight).zip(bias).zip(out) {
                *out = M::mul_add((*x - mean) * scale, *weight, *bias);
            }
        }
    }
}

/// `x / sqrt(mean(x²) + eps) · weight` in place; with `unit_offset` the weight is stored less 1, as Gemma's is.
///
/// # Shapes
///
/// - `x`: `[rows, width]`, `weight`: `[width]`
///
/// # Panics
///
/// If `x` is not a whole number of rows.
pub fn rms_norm(x: &mut [f32], weight: &[f32], eps: f32, unit_offset: bool) {
    let (width, offset) = (row_width(x.len(), weight.len()), f32::from(unit_offset));
    parallel::rows(x, width, width / SPEED, |_, x| rms_norm_at(level(), x, weight, eps, offset));
}

/// [`rms_norm`] of `x`, written to `out`.
///
/// # Panics
///
/// If `x` is not a whole number of rows, or `out` has another length.
pub fn rms_norm_into(x: &[f32], weight: &[f32], eps: f32, unit_offset: bool, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "the output must be as long as the input");
    let (width, offset) = (row_width(x.len(), weight.len()), f32::from(unit_offset));
    parallel::rows(out, width, width / SPEED, |first, out| {
        let x = &x[first * width..first * width + out.len()];
        rms_norm_into_at(level(), x, weight, eps, offset, out);
    });
}

/// Adds `x` to the residual stream, whose [`rms_norm`] is then written to `out`.
///
/// # Panics
///
/// If `residual` is not a whole number of rows, or `x` or `out` has another length.
pub fn add_rms_norm(residual: &mut [f32], x: &[f32], weight: &[f32], eps: f32, unit_offset: bool, out: &mut [f32]) {
    assert!(x.len() == residual.len() && out.len() == residual.len(), "the lengths must be the same");
    let (width, offset) = (row_width(x.len(), weight.len()), f32::from(unit_offset));
    parallel::rows2((residual, width), (out, width), width / SPEED, |first, residual, out| {
        let x = &x[first * width..first * width + out.len()];
        add_rms_norm_at(level(), residual, x, weight, eps, offset, out);
    });
}

/// `(x - mean(x)) / sqrt(var(x) + eps) · weight + bias` in place.
///
/// # Shapes
///
/// - `x`: `[rows, width]`, `weight` and `bias`: `[width]`
///
/// # Panics
///
/// If `x` is not a whole number of rows, or `bias` is not as long as `weight`.
pub fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    assert_eq!(weight.len(), bias.len(), "the bias must be as long as the weight");
    let width = row_width(x.len(), weight.len());
    parallel::rows(x, width, width / SPEED, |_, x| layer_norm_at(level(), x, weight, bias, eps));
}

/// [`layer_norm`] of `x`, written to `out`.
///
/// # Panics
///
/// If `x` is not a whole number of rows, `bias` is not as long as `weight`, or `out` has another length than `x`.
pub fn layer_norm_into(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(weight.len(), bias.len(), "the bias must be as long as the weight");
    assert_eq!(x.len(), out.len(), "the output must be as long as the input");
    let width = row_width(x.len(), weight.len());
    parallel::rows(out, width, width / SPEED, |first, out| {
        let x = &x[first * width..first * width + out.len()];
        layer_norm_into_at(level(), x, weight, bias, eps, out);
    });
}

/// The width of rows, of which `len` values must be a whole number.
fn row_width(len: usize, width: usize) -> usize {
    assert!(len.is_multiple_of(width), "{len} values are no whole number of rows {width} wide");
    width.max(1)
}

#[cfg(test)]
mod tests;
