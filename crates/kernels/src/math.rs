//! Functions of one value without branches, so that a loop over them becomes vector instructions.
//!
//! Each is generic over how `a · b + c` is computed (see [`MulAdd`]). The coefficients are minimax fits, made in f64
//! by reweighted least squares over the range that each function names, and rounded to f32. NaN stays NaN.

use std::f32::consts::{FRAC_2_SQRT_PI, LN_2, LOG2_E};

use crate::level::MulAdd;

/// Added to a value below 2²², it leaves the nearest whole number in the lowest bits.
const ROUND: f32 = 12_582_912.0;
/// `ln 2` in two parts; a whole number of up to 9 bits times the first is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Below this `e^x` is smaller than the smallest normal number.
const SMALLEST_NORMAL: f32 = -87.336;
/// The same for `2^x`.
const SMALLEST_NORMAL_2: f32 = -126.0;

/// `2^n` for a whole number n that was added to [`ROUND`], -126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(rounded: f32) -> f32 {
    f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23)
}

/// `(e^r, n)` with `x = r + n · ln 2`; n is still added to [`ROUND`].
#[inline(always)]
fn exp_parts<M: MulAdd>(x: f32) -> (f32, f32) {
    let rounded = M::mul_add(x, LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = M::mul_add(n, -LN_2_LOW, M::mul_add(n, -LN_2_HIGH, x));
    let q = M::mul_add(1.381_166e-3, r, 8.370_135e-3);
    let q = M::mul_add(q, r, 4.166_852_7e-2);
    let q = M::mul_add(q, r, 1.666_651e-1);
    let q = M::mul_add(q, r, 0.499_999_94);
    (M::mul_add(q * r, r, r) + 1.0, rounded)
}

/// `e^x`, within 2 ulp; denormal results are right too.
#[inline(always)]
pub(crate) fn exp<M: MulAdd>(x: f32) -> f32 {
    // Written so that NaN passes: beyond these bounds the result is 0 or infinite anyway.
    let x = if x < -105.0 { -105.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let (e, rounded) = exp_parts::<M>(x);
    // In two steps, because 2^n itself may be too small or too large a number.
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let scale = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    e * scale(half) * scale(n.wrapping_sub(half))
}

/// `e^x` for x ≤ 0, within 2 ulp; 0 where that would be a denormal number.
#[inline(always)]
pub(crate) fn exp_negative<M: MulAdd>(x: f32) -> f32 {
    let (e, rounded) = exp_parts::<M>(x);
    if x < SMALLEST_NORMAL { 0.0 } else { e * power_of_two(rounded) }
}

/// `2^x` for x ≤ 0, within 2 ulp; 0 where that would be a denormal number.
#[inline(always)]
pub(crate) fn exp2_negative<M: MulAdd>(x: f32) -> f32 {
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    let q = M::mul_add(1.535_336e-4, r, 1.339_887_5e-3);
    let q = M::mul_add(q, r, 9.618_437e-3);
    let q = M::mul_add(q, r, 5.550_332_4e-2);
    let q = M::mul_add(q, r, 2.402_264_8e-1);
    let q = M::mul_add(q, r, LN_2);
    let e = M::mul_add(q, r, 1.0);
    if x < SMALLEST_NORMAL_2 { 0.0 } else { e * power_of_two(rounded) }
}

/// `x · p(x²) / q(x²)`, with the highest coefficients first.
#[inline(always)]
fn odd_rational<M: MulAdd, const P: usize, const Q: usize>(x: f32, p: [f32; P], q: [f32; Q]) -> f32 {
    let z = x * x;
    let polynomial = |sum: f32, c: &f32| M::mul_add(sum, z, *c);
    x * (p.iter().fold(0.0, polynomial) / q.iter().fold(0.0, polynomial))
}

/// `y` where `|x| < bound`, beyond it ±1.
#[inline(always)]
fn saturated(x: f32, y: f32, bound: f32) -> f32 {
    if x.abs() > bound { 1f32.copysign(x) } else { y }
}

/// The hyperbolic tangent, within 8 ulp.
#[inline(always)]
pub(crate) fn tanh<M: MulAdd>(x: f32) -> f32 {
    const P: [f32; 5] = [1.333_686_3e-8, 2.059_628_6e-5, 3.494_812e-3, 1.338_037_3e-1, 1.0];
    const Q: [f32; 5] = [7.769_289_7e-7, 3.284_364_6e-4, 2.587_403e-2, 4.671_369e-1, 1.0];
    saturated(x, odd_rational::<M, 5, 5>(x, P, Q), 9.01)
}

/// The error function, within 8 ulp.
#[inline(always)]
pub(crate) fn erf<M: MulAdd>(x: f32) -> f32 {
    const P: [f32; 6] = [2.050_141_6e-6, 2.848_808_7e-4, 3.765_448e-3, 5.274_82e-2, 1.904_022_5e-1, FRAC_2_SQRT_PI];
    const Q: [f32; 6] = [3.809_218_5e-5, 1.162_498_3e-3, 1.496_887_3e-2, 1.141_074e-1, 5.020_723_3e-1, 1.0];
    saturated(x, odd_rational::<M, 6, 6>(x, P, Q), 3.92)
}

/// `(σ(x), σ(x) · (1 - σ(x)))` of the logistic function `σ(x) = 1 / (1 + e^-x)`: within 6 ulp, and 0 where that
/// would be a denormal number.
#[inline(always)]
pub(crate) fn sigmoid_and_slope<M: MulAdd>(x: f32) -> (f32, f32) {
    let e = exp_negative::<M>(-x.abs());
    let r = 1.0 / (1.0 + e);
    let small = e * r;
    (if x < 0.0 { small } else { r }, small * r)
}

#[cfg(test)]
pub(crate) mod tests;
