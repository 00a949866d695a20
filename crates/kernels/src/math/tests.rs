use super::*;
use crate::level::Level;

vectorised! {
    /// All functions of one value.
    fn all<M>(x: &[f32], out: &mut [[f32; 7]]) {
        for (x, out) in x.iter().zip(out) {
            let (sigmoid, slope) = sigmoid_and_slope::<M>(*x);
            let below = -x.abs();
            *out = [exp::<M>(*x), exp_negative::<M>(below), exp2_negative::<M>(below), tanh::<M>(*x), erf::<M>(*x),
                sigmoid, slope];
        }
    }
}

/// Values of every magnitude and sign, and those where something changes.
fn values() -> Vec<f32> {
    let positive = (0..=0x7f80_0000u32).step_by(9973).map(f32::from_bits);
    let dense = (0..400_000).map(|i| i as f32 * 3e-4);
    let edges = [0.0, f32::MIN_POSITIVE, 1e-45, 87.336, 88.722_84, 88.73, 103.9, 105.0, 9.01, 3.92, 126.0, f32::MAX];
    let all: Vec<f32> = positive.chain(dense).chain(edges).chain([f32::INFINITY]).collect();
    all.iter().flat_map(|x| [*x, -*x]).collect()
}

/// `erf(x)` in f64: its series, or the continued fraction of what is left to 1 (Abramowitz and Stegun 7.1.6, 7.1.14).
pub(crate) fn erf_f64(x: f64) -> f64 {
    let square = x * x;
    if x.abs() < 2.5 {
        let mut term = x;
        let mut sum = x;
        for n in 1..100 {
            term *= 2.0 * square / f64::from(2 * n + 1);
            sum += term;
        }
        return std::f64::consts::FRAC_2_SQRT_PI * (-square).exp() * sum;
    }
    let fraction = (1..200).rev().fold(0.0, |below, n| f64::from(n) / 2.0 / (x.abs() + below));
    let left = (-square).exp() / (x.abs() + fraction) / std::f64::consts::PI.sqrt();
    (1.0 - left).copysign(x)
}

/// Distance in units of the last place of `expected`.
fn ulps(got: f32, expected: f64) -> f64 {
    let rounded = expected as f32;
    if got == rounded {
        return 0.0;
    }
    let place = f32::from_bits(rounded.abs().to_bits().min(0x7f7f_fffe) + 1) as f64
        - f32::from_bits(rounded.abs().to_bits().min(0x7f7f_fffe)) as f64;
    (f64::from(got) - expected).abs() / place
}

#[test]
fn every_level_is_within_a_few_ulp() {
    let x = values();
    for level in Level::available() {
        let mut out = vec![[0.0; 7]; x.len()];
        all(level, &x, &mut out);
        let mut worst = [(0.0, 0.0); 7];
        for (x, out) in x.iter().zip(out) {
            let exact = f64::from(*x);
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let below = -exact.abs();
            let expected = [
                exact.exp(),
                below.exp(),
                below.exp2(),
                exact.tanh(),
                erf_f64(exact),
                sigmoid(exact),
                sigmoid(exact) * sigmoid(-exact),
            ];
            for (i, (got, expected)) in out.into_iter().zip(expected).enumerate() {
                // All but the full exponential may give 0 instead of a denormal number.
                let tiny = i != 0 && got == 0.0 && expected.abs() < 1.3e-38 && expected != exact;
                let error = if tiny { 0.0 } else { ulps(got, expected) };
                if error.is_nan() || error > worst[i].0 {
                    worst[i] = (error, *x);
                }
            }
        }
        println!("{level:?}: {worst:?}");
        for ((error, x), limit) in worst.into_iter().zip([1.5, 1.5, 1.5, 8.0, 8.0, 4.0, 6.0]) {
            assert!(error <= limit, "{level:?}: {error} ulp at {x} of {worst:?}");
        }
    }
}

#[test]
fn signs_of_zero_and_nan_are_kept() {
    for level in Level::available() {
        let mut out = [[1.0; 7]; 5];
        all(level, &[0.0, -0.0, f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)], &mut out);
        assert_eq!(out[0].map(f32::to_bits), [1.0, 1.0, 1.0, 0.0, 0.0, 0.5, 0.25f32].map(f32::to_bits));
        assert_eq!(out[1].map(f32::to_bits), [1.0, 1.0, 1.0, -0.0, -0.0, 0.5, 0.25f32].map(f32::to_bits));
        assert!(out[2..].as_flattened().iter().all(|x| x.is_nan()), "{out:?}");
    }
}
