//! What the tests of several kernels need.

use proptest::prelude::*;

/// Values of a useful size, with now and then a denormal number.
pub(crate) fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let value = |u: f32| if u < 0.01 { 1e-39 * u } else { u };
    // The sum of four is about normally distributed.
    (0..len).map(|_| value(next()) + next() + next() + next() - 2.0).map(|x| x * 1.7).collect()
}

/// Values of any size, with zeros, infinities, NaN and denormal numbers among them.
pub(crate) fn any_values() -> impl Strategy<Value = Vec<f32>> {
    use prop::num::f32::{ANY, NORMAL};
    let value = prop_oneof![-20f32..20.0, -3f32..3.0, NORMAL, ANY];
    prop::collection::vec(value, 0..200)
}

/// Whether `got` is `expected`, but for `relative` of it and `absolute`. NaN is NaN, infinity infinity.
pub(crate) fn close(got: f32, expected: f64, relative: f64, absolute: f64) -> bool {
    if expected.is_nan() {
        return got.is_nan();
    }
    if f64::from(got) == expected || got == expected as f32 {
        return true;
    }
    (f64::from(got) - expected).abs() <= relative * expected.abs() + absolute
}

/// Asserts that all values are [`close`].
#[track_caller]
pub(crate) fn assert_close(got: &[f32], expected: &[f64], relative: f64, absolute: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(close(*got, *expected, relative, absolute), "{what} at {i}: {got} instead of {expected}");
    }
}

/// A slice in f64.
pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}
