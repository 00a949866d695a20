//! What follows a convolution: each channel scaled and shifted, and cut off.

use crate::level::level;
use crate::parallel;

/// Values that one thread scales in a nanosecond.
const SPEED: usize = 4;

vectorised! {
    pub(crate) fn affine_at<M>(x: &mut [f32], scale: f32, shift: f32, least: f32, most: f32) {
        for x in x {
            let y = M::mul_add(*x, scale, shift);
            // NaN stays NaN: every comparison with it is false.
            let y = if y < least { least } else { y };
            *x = if y > most { most } else { y };
        }
    }
}

/// `clamp(x · scale + shift, least, most)` of each channel, in place: a batch norm with fixed statistics and the
/// activation behind it.
///
/// # Shapes
///
/// - `x`: `[batch, channels, places]`, `scale` and `shift`: `[channels]`
///
/// # Panics
///
/// If `shift` is not as long as `scale`, or `x` is not a whole number of batches.
pub fn channel_affine(x: &mut [f32], places: usize, scale: &[f32], shift: &[f32], [least, most]: [f32; 2]) {
    assert_eq!(scale.len(), shift.len(), "each channel needs a scale and a shift");
    let row = scale.len() * places;
    assert!(x.is_empty() || row > 0 && x.len().is_multiple_of(row), "the values must be whole batches of channels");
    parallel::rows(x, places.max(1), places / SPEED, |first, x| {
        for (nth, x) in x.chunks_exact_mut(places).enumerate() {
            let channel = (first + nth) % scale.len();
            affine_at(level(), x, scale[channel], shift[channel], least, most);
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::level::Level;
    use crate::testing::{any_values, assert_close, values};

    proptest! {
        #[test]
        fn values_are_those_of_f64(x in any_values(), scale in -3f32..3.0, shift in -3f32..3.0) {
            let wide = |x: &f32| (f64::from(*x) * f64::from(scale) + f64::from(shift)).clamp(-1.0, 6.0);
            let expected: Vec<f64> = x.iter().map(wide).collect();
            for level in Level::available() {
                let mut y = x.clone();
                affine_at(level, &mut y, scale, shift, -1.0, 6.0);
                assert_close(&y, &expected, 1e-6, 1e-6, level.name());
            }
        }
    }

    #[test]
    fn each_channel_has_its_own_scale() {
        let x = values(2 * 3 * 5, 1);
        let (scale, shift) = ([1.0, -2.0, 0.0], [0.0, 1.0, 7.0]);
        let mut y = x.clone();
        channel_affine(&mut y, 5, &scale, &shift, [f32::NEG_INFINITY, f32::INFINITY]);
        for (nth, (y, x)) in y.iter().zip(&x).enumerate() {
            let channel = nth / 5 % 3;
            assert!((y - (x * scale[channel] + shift[channel])).abs() < 1e-6, "{nth}");
        }
        channel_affine(&mut [], 0, &scale, &shift, [0.0, 6.0]);
    }

    #[test]
    #[should_panic(expected = "whole batches")]
    fn part_of_a_batch_is_refused() {
        channel_affine(&mut [0.0; 7], 2, &[1.0; 3], &[0.0; 3], [0.0, 6.0]);
    }
}
