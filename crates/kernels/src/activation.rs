//! Activation functions and their gradients, in place.
//!
//! Values follow PyTorch's: NaN stays NaN, and so does what has no value there (`silu(-∞)` is `-∞ · 0`).

use crate::level::{Level, MulAdd, level};
use crate::math;
use crate::parallel;

/// Elements are handed to threads by this many, a row.
const ROW: usize = 64;
/// Nanoseconds that a row takes, about.
const COST: usize = 40;

/// `sqrt(2 / π)`
const SQRT_2_OVER_PI: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
/// Of GELU's approximation by tanh.
const CUBIC: f32 = 0.044_715;
/// Of GELU's approximation by a sigmoid.
const QUICK: f32 = 1.702;

/// `(f(x), f'(x))`
type ValueAndSlope = (f32, f32);

#[inline(always)]
fn gelu_parts<M: MulAdd>(x: f32) -> ValueAndSlope {
    let normal = 0.5 * (1.0 + math::erf::<M>(x * std::f32::consts::FRAC_1_SQRT_2));
    let density = 0.5 * std::f32::consts::FRAC_1_SQRT_2 * std::f32::consts::FRAC_2_SQRT_PI;
    let density = density * math::exp_negative::<M>(-0.5 * x * x);
    (x * normal, M::mul_add(x, density, normal))
}

/// `(1 + tanh(u)) / 2` is `σ(2u)`, which loses nothing below 0.
#[inline(always)]
fn gelu_tanh_parts<M: MulAdd>(x: f32) -> ValueAndSlope {
    // Beyond 20 the sigmoid is 0 or 1 and the slope of `u` no longer matters, but could overflow.
    let near = if x > 20.0 { 20.0 } else { x };
    let near = if near < -20.0 { -20.0 } else { near };
    let square = CUBIC * near * near;
    let (sigmoid, slope) = math::sigmoid_and_slope::<M>(2.0 * SQRT_2_OVER_PI * M::mul_add(near, square, near));
    let inner = 2.0 * SQRT_2_OVER_PI * M::mul_add(3.0, square, 1.0);
    (x * sigmoid, M::mul_add(near * slope, inner, sigmoid))
}

#[inline(always)]
fn quick_gelu_parts<M: MulAdd>(x: f32) -> ValueAndSlope {
    let (sigmoid, slope) = math::sigmoid_and_slope::<M>(QUICK * x);
    (x * sigmoid, M::mul_add(QUICK, x * slope, sigmoid))
}

#[inline(always)]
fn silu_parts<M: MulAdd>(x: f32) -> ValueAndSlope {
    let (sigmoid, slope) = math::sigmoid_and_slope::<M>(x);
    (x * sigmoid, M::mul_add(x, slope, sigmoid))
}

#[inline(always)]
fn sigmoid_parts<M: MulAdd>(x: f32) -> ValueAndSlope {
    math::sigmoid_and_slope::<M>(x)
}

#[inline(always)]
fn tanh_parts<M: MulAdd>(x: f32) -> ValueAndSlope {
    let y = math::tanh::<M>(x);
    (y, M::mul_add(-y, y, 1.0))
}

#[inline(always)]
fn relu6_parts<M: MulAdd>(x: f32) -> ValueAndSlope {
    let y = if x < 0.0 { 0.0 } else { x };
    (if y > 6.0 { 6.0 } else { y }, if x > 0.0 && x < 6.0 { 1.0 } else { x * 0.0 })
}

/// A function of one value over a slice, and its gradient.
macro_rules! activation {
    ($(#[$meta:meta])* $name:ident, $backward:ident, $at:ident, $backward_at:ident, $parts:ident) => {
        vectorised! {
            pub(crate) fn $at<M>(x: &mut [f32]) {
                for x in x {
                    *x = $parts::<M>(*x).0;
                }
            }
        }

        vectorised! {
            pub(crate) fn $backward_at<M>(x: &[f32], grad: &mut [f32]) {
                for (x, grad) in x.iter().zip(grad) {
                    *grad *= $parts::<M>(*x).1;
                }
            }
        }

        $(#[$meta])*
        pub fn $name(x: &mut [f32]) {
            map(x, $at);
        }

        #[doc = concat!("The gradient of [`", stringify!($name), "`]: `grad` goes in as the output's and comes out as \
                         that of the input `x`.\n\n# Panics\n\nIf the lengths differ.")]
        pub fn $backward(x: &[f32], grad: &mut [f32]) {
            zip(x, grad, $backward_at);
        }
    };
}

/// A function of one value times another value, as gated layers have it, and its gradients.
macro_rules! gated {
    ($(#[$meta:meta])* $name:ident, $backward:ident, $at:ident, $backward_at:ident, $parts:ident) => {
        vectorised! {
            pub(crate) fn $at<M>(up: &[f32], gate: &mut [f32]) {
                for (gate, up) in gate.iter_mut().zip(up) {
                    *gate = $parts::<M>(*gate).0 * *up;
                }
            }
        }

        vectorised! {
            pub(crate) fn $backward_at<M>(gate: &[f32], up: &[f32], grad: &mut [f32], up_grad: &mut [f32]) {
                for (((gate, up), grad), up_grad) in gate.iter().zip(up).zip(grad).zip(up_grad) {
                    let (value, slope) = $parts::<M>(*gate);
                    *up_grad = *grad * value;
                    *grad *= *up * slope;
                }
            }
        }

        $(#[$meta])*
        ///
        /// # Panics
        ///
        /// If the lengths differ.
        pub fn $name(gate: &mut [f32], up: &[f32]) {
            zip(up, gate, $at);
        }

        #[doc = concat!("The gradients of [`", stringify!($name), "`]: `grad` goes in as the output's and comes out as \
                         that of `gate`; that of `up` is written to `up_grad`.\n\n# Panics\n\nIf the lengths differ.")]
        pub fn $backward(gate: &[f32], up: &[f32], grad: &mut [f32], up_grad: &mut [f32]) {
            let len = grad.len();
            assert!(gate.len() == len && up.len() == len && up_grad.len() == len, "the lengths must be the same");
            parallel::rows2((grad, ROW), (up_grad, ROW), COST, |first, grad, up_grad| {
                let part = first * ROW..first * ROW + grad.len();
                $backward_at(level(), &gate[part.clone()], &up[part], grad, up_grad);
            });
        }
    };
}

activation!(
    /// `x · Φ(x)`, GELU in its exact form (PyTorch `gelu`).
    gelu, gelu_backward, gelu_at, gelu_backward_at, gelu_parts
);
activation!(
    /// GELU's approximation by tanh, `x / 2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 · x³)))`.
    gelu_tanh, gelu_tanh_backward, gelu_tanh_at, gelu_tanh_backward_at, gelu_tanh_parts
);
activation!(
    /// GELU's approximation by a sigmoid, `x · σ(1.702 · x)`.
    quick_gelu, quick_gelu_backward, quick_gelu_at, quick_gelu_backward_at, quick_gelu_parts
);
activation!(
    /// `x · σ(x)`
    silu, silu_backward, silu_at, silu_backward_at, silu_parts
);
activation!(
    /// `σ(x) = 1 / (1 + e^-x)`
    sigmoid, sigmoid_backward, sigmoid_at, sigmoid_backward_at, sigmoid_parts
);
activation!(
    /// The hyperbolic tangent.
    tanh, tanh_backward, tanh_at, tanh_backward_at, tanh_parts
);
activation!(
    /// `x`, but at least 0 and at most 6.
    relu6, relu6_backward, relu6_at, relu6_backward_at, relu6_parts
);
gated!(
    /// `silu(gate) · up`, written to `gate`.
    silu_mul, silu_mul_backward, silu_mul_at, silu_mul_backward_at, silu_parts
);
gated!(
    /// `gelu_tanh(gate) · up`, written to `gate`.
    gelu_tanh_mul, gelu_tanh_mul_backward, gelu_tanh_mul_at, gelu_tanh_mul_backward_at, gelu_tanh_parts
);

vectorised! {
    pub(crate) fn exp_at<M>(x: &mut [f32]) {
        for x in x {
            *x = math::exp::<M>(*x);
        }
    }
}

/// `e^x`
pub fn exp(x: &mut [f32]) {
    map(x, exp_at);
}

fn map(x: &mut [f32], at: fn(Level, &mut [f32])) {
    parallel::rows(x, ROW, COST, |_, x| at(level(), x));
}

fn zip(x: &[f32], y: &mut [f32], at: fn(Level, &[f32], &mut [f32])) {
    assert_eq!(x.len(), y.len(), "the lengths must be the same");
    parallel::rows(y, ROW, COST, |first, y| at(level(), &x[first * ROW..first * ROW + y.len()], y));
}

#[cfg(test)]
mod tests;
