use proptest::prelude::*;

use super::*;
use crate::math::tests::erf_f64;
use crate::testing::{any_values, close, values};

/// An activation, its gradient and what they should be in f64.
struct Case {
    name: &'static str,
    forward: fn(Level, &mut [f32]),
    backward: fn(Level, &[f32], &mut [f32]),
    exact: fn(f64) -> f64,
}

fn sigmoid_f64(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu_tanh_f64(x: f64) -> f64 {
    // As the logistic function, which loses nothing below 0.
    x * sigmoid_f64(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x))
}

const CASES: [Case; 7] = [
    Case {
        name: "gelu",
        forward: gelu_at,
        backward: gelu_backward_at,
        exact: |x| 0.5 * x * (1.0 + erf_f64(x / std::f64::consts::SQRT_2)),
    },
    Case { name: "gelu_tanh", forward: gelu_tanh_at, backward: gelu_tanh_backward_at, exact: gelu_tanh_f64 },
    Case {
        name: "quick_gelu",
        forward: quick_gelu_at,
        backward: quick_gelu_backward_at,
        exact: |x| x * sigmoid_f64(1.702 * x),
    },
    Case { name: "silu", forward: silu_at, backward: silu_backward_at, exact: |x| x * sigmoid_f64(x) },
    Case { name: "sigmoid", forward: sigmoid_at, backward: sigmoid_backward_at, exact: sigmoid_f64 },
    Case { name: "tanh", forward: tanh_at, backward: tanh_backward_at, exact: f64::tanh },
    Case {
        name: "relu6",
        forward: relu6_at,
        backward: relu6_backward_at,
        exact: |x| if x.is_nan() { x } else { x.clamp(0.0, 6.0) },
    },
];

proptest! {
    #[test]
    fn values_are_those_of_f64(x in any_values()) {
        for level in Level::available() {
            for case in CASES {
                let mut y = x.clone();
                (case.forward)(level, &mut y);
                for (x, y) in x.iter().zip(y) {
                    let expected = (case.exact)(f64::from(*x));
                    // Far below 0 the roundings of the exponent count, as many halves of its last place as four of them: the
                    // exponent is the logarithm of what comes out.
                    let exponent = expected.abs().ln().abs().min(88.0);
                    let relative = 1e-5 + 4.0 * exponent * f64::from(f32::EPSILON) / 2.0;
                    // GELU's error function is added to 1, so that its error counts for all of x.
                    let absolute = if case.name == "gelu" { 5e-7 * f64::from(x.abs().min(6.0)) } else { 1e-36 };
                    prop_assert!(close(y, expected, relative, absolute), "{} {level:?} of {x}: {y}, not {expected}",
                        case.name);
                }
            }
        }
    }

    #[test]
    fn gradients_are_finite_differences(x in prop::collection::vec(-30f32..30.0, 0..100)) {
        for level in Level::available() {
            for case in CASES {
                let mut grad = vec![2.0; x.len()];
                (case.backward)(level, &x, &mut grad);
                for (x, grad) in x.iter().zip(grad) {
                    let exact = f64::from(*x);
                    let step = 1e-4;
                    if case.name == "relu6" && (exact.abs() < step || (exact - 6.0).abs() < step) {
                        continue;
                    }
                    let expected = ((case.exact)(exact + step) - (case.exact)(exact - step)) / step;
                    prop_assert!(close(grad, expected, 2e-6, 2e-6), "{} {level:?} of {x}: {grad}, not {expected}",
                        case.name);
                }
            }
        }
    }

    #[test]
    fn gated_values_and_gradients(gate in prop::collection::vec(-20f32..20.0, 0..100)) {
        let up = values(gate.len(), 5);
        for level in Level::available() {
            let mut y = gate.clone();
            let (mut grad, mut up_grad) = (vec![2.0; gate.len()], vec![0.0; gate.len()]);
            silu_mul_at(level, &up, &mut y);
            silu_mul_backward_at(level, &gate, &up, &mut grad, &mut up_grad);
            let mut y2 = gate.clone();
            let (mut grad2, mut up_grad2) = (vec![2.0; gate.len()], vec![0.0; gate.len()]);
            gelu_tanh_mul_at(level, &up, &mut y2);
            gelu_tanh_mul_backward_at(level, &gate, &up, &mut grad2, &mut up_grad2);
            let results = [
                (y, grad, up_grad, (|x| x * sigmoid_f64(x)) as fn(f64) -> f64),
                (y2, grad2, up_grad2, gelu_tanh_f64),
            ];
            for (y, grad, up_grad, exact) in results {
                for i in 0..gate.len() {
                    let (x, up) = (f64::from(gate[i]), f64::from(up[i]));
                    let slope = (exact(x + 1e-4) - exact(x - 1e-4)) / 1e-4;
                    prop_assert!(close(y[i], exact(x) * up, 1e-5, 1e-30));
                    prop_assert!(close(grad[i], slope * up, 1e-5, 1e-5));
                    prop_assert!(close(up_grad[i], 2.0 * exact(x), 1e-5, 1e-30));
                }
            }
        }
    }
}

#[test]
fn gradients_far_out_are_1_or_0() {
    for level in Level::available() {
        for case in CASES {
            let x = [1e10, 3e38, -1e10, -3e38, f32::NAN];
            let mut grad = [1.0; 5];
            (case.backward)(level, &x, &mut grad);
            let above = if matches!(case.name, "sigmoid" | "tanh" | "relu6") { 0.0 } else { 1.0 };
            assert_eq!(grad[..4], [above, above, 0.0, 0.0], "{} {level:?}", case.name);
            assert!(grad[4].is_nan(), "{} {level:?}", case.name);
        }
    }
}

#[test]
fn threads_do_not_change_anything() {
    let x = values(300_001, 1);
    let up = values(x.len(), 2);
    let (mut y, mut expected) = (x.clone(), x.clone());
    silu_mul(&mut y, &up);
    silu_mul_at(level(), &up, &mut expected);
    assert!(y == expected);
    let (mut grad, mut up_grad) = (x.clone(), vec![0.0; x.len()]);
    let (mut expected, mut up_expected) = (x.clone(), vec![0.0; x.len()]);
    silu_mul_backward(&y, &up, &mut grad, &mut up_grad);
    silu_mul_backward_at(level(), &y, &up, &mut expected, &mut up_expected);
    assert!(grad == expected && up_grad == up_expected);
    let (mut y, mut expected) = (x.clone(), x);
    exp(&mut y);
    exp_at(level(), &mut expected);
    assert!(y == expected);
}
