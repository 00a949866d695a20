use proptest::prelude::*;

use super::*;
use crate::level::Level;
use crate::testing::{assert_close, values, wide};

fn softmax_f64(x: &[f64], width: usize) -> Vec<f64> {
    let rows = x.chunks(width).flat_map(|row| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = row.iter().map(|x| (x - max).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(move |e| e / sum)
    });
    rows.collect()
}

proptest! {
    #[test]
    fn values_and_gradients_are_those_of_f64(rows in 0usize..4, width in 1usize..150, scale in 0f32..60.0) {
        let x: Vec<f32> = values(rows * width, 3).iter().map(|x| x * scale).collect();
        let upstream = values(x.len(), 4);
        let exact = softmax_f64(&wide(&x), width);
        let loss = |x: &[f64]| -> f64 {
            softmax_f64(x, width).iter().zip(&upstream).map(|(y, g)| y * f64::from(*g)).sum()
        };
        for level in Level::available() {
            let (mut y, mut grad) = (x.clone(), upstream.clone());
            softmax_at(level, &mut y, width);
            assert_close(&y, &exact, 1e-5, 1.5e-38, "softmax");
            softmax_backward_at(level, &y, &mut grad, width);
            for i in (0..x.len()).step_by(17) {
                let (mut above, mut below) = (wide(&x), wide(&x));
                above[i] += 1e-4;
                below[i] -= 1e-4;
                let expected = (loss(&above) - loss(&below)) / 2e-4;
                assert_close(&[grad[i]], &[expected], 1e-5, 2e-6, "softmax_backward");
            }
        }
    }
}

#[test]
fn extremes() {
    let infinite = f32::NEG_INFINITY;
    for level in Level::available() {
        let mut x = [3e38, -3e38, infinite, 3e38, infinite, 1.0, infinite, infinite, f32::NAN, 0.0, infinite, 1.0];
        softmax_at(level, &mut x, 4);
        assert_eq!(x[..8], [0.5, 0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0]);
        assert!(x[8..].iter().all(|x| x.is_nan()));
        let mut hidden = [infinite; 3];
        softmax_at(level, &mut hidden, 3);
        assert!(hidden.iter().all(|x| x.is_nan()));
    }
}

#[test]
fn threads_do_not_change_anything() {
    let (x, width) = (values(400 * 577, 1), 577);
    let (mut y, mut expected) = (x.clone(), x.clone());
    softmax(&mut y, width);
    softmax_at(level(), &mut expected, width);
    assert!(y == expected);
    let (mut grad, mut expected) = (x.clone(), x);
    softmax_backward(&y, &mut grad, width);
    softmax_backward_at(level(), &y, &mut expected, width);
    assert!(grad == expected);
    softmax(&mut [], 3);
}
