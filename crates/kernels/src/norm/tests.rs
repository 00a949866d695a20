use proptest::prelude::*;

use super::*;
use crate::level::Level;
use crate::testing::{assert_close, values, wide};

pub(super) fn norm_f64(x: &[f32], centred: bool, weight: &[f32], bias: &[f32], offset: f64, eps: f64) -> Vec<f64> {
    let width = weight.len();
    let rows = x.chunks(width).flat_map(|row| {
        let row = wide(row);
        let mean = if centred { row.iter().sum::<f64>() / width as f64 } else { 0.0 };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + eps).sqrt();
        let place = move |(i, x): (usize, f64)| (i, (x - mean) * scale);
        row.into_iter().enumerate().map(place).collect::<Vec<_>>()
    });
    rows.map(|(i, x)| x * (f64::from(weight[i]) + offset) + f64::from(bias[i])).collect()
}

proptest! {
    #[test]
    fn values_are_those_of_f64(rows in 0usize..5, width in 1usize..150, scale in -10i32..10, unit_offset: bool) {
        let scale = 10f32.powi(scale);
        let x: Vec<f32> = values(rows * width, 3).iter().map(|x| x * scale).collect();
        let (weight, bias, none) = (values(width, 4), values(width, 5), vec![0.0; width]);
        let offset = f32::from(unit_offset);
        let eps = 1e-6;
        let rms = norm_f64(&x, false, &weight, &none, offset.into(), eps.into());
        let layer = norm_f64(&x, true, &weight, &bias, 0.0, eps.into());
        for level in Level::available() {
            let mut y = x.clone();
            rms_norm_at(level, &mut y, &weight, eps, offset);
            assert_close(&y, &rms, 1e-5, 2e-6, "rms_norm");
            let mut out = vec![0.0; x.len()];
            rms_norm_into_at(level, &x, &weight, eps, offset, &mut out);
            prop_assert_eq!(&out, &y);

            let (mut y, mut out) = (x.clone(), vec![0.0; x.len()]);
            layer_norm_at(level, &mut y, &weight, &bias, eps);
            // One value is its own mean, and what is left of it is all rounding.
            assert_close(&y, &layer, 1e-5, 1e-5, "layer_norm");
            layer_norm_into_at(level, &x, &weight, &bias, eps, &mut out);
            prop_assert_eq!(out, y);

            let added = values(x.len(), 6);
            let sum: Vec<f32> = x.iter().zip(&added).map(|(a, b)| a + b).collect();
            let (mut residual, mut out) = (x.clone(), vec![0.0; x.len()]);
            add_rms_norm_at(level, &mut residual, &added, &weight, eps, offset, &mut out);
            let expected = norm_f64(&sum, false, &weight, &none, offset.into(), eps.into());
            assert_close(&out, &expected, 1e-5, 2e-6, "add_rms_norm");
            prop_assert_eq!(residual, sum);
        }
    }
}

#[test]
fn rows_do_not_touch_one_another() {
    let width = 40;
    for level in Level::available() {
        let mut x = values(3 * width, 1);
        let alone = norm_f64(&x[..width], false, &vec![1.0; width], &vec![0.0; width], 0.0, 1e-5);
        x[width + 3] = f32::NAN;
        x[2 * width..].fill(1e-42);
        rms_norm_at(level, &mut x, &vec![1.0; width], 1e-5, 0.0);
        assert_close(&x[..width], &alone, 1e-6, 1e-6, "beside NaN");
        assert!(x[width..2 * width].iter().all(|x| x.is_nan()));
        assert!(x[2 * width..].iter().all(|x| x.abs() < 1e-39));
    }
}

#[test]
fn threads_do_not_change_anything() {
    let (rows, width) = (700, 577);
    let (x, added, weight, bias) =
        (values(rows * width, 1), values(rows * width, 2), values(width, 3), values(width, 4));
    let (mut y, mut expected) = (x.clone(), x.clone());
    rms_norm(&mut y, &weight, 1e-5, true);
    rms_norm_at(level(), &mut expected, &weight, 1e-5, 1.0);
    assert!(y == expected);
    rms_norm_into(&x, &weight, 1e-5, true, &mut y);
    assert!(y == expected);
    let (mut residual, mut residual2) = (x.clone(), x.clone());
    add_rms_norm(&mut residual, &added, &weight, 1e-5, false, &mut y);
    add_rms_norm_at(level(), &mut residual2, &added, &weight, 1e-5, 0.0, &mut expected);
    assert!(y == expected && residual == residual2);
    layer_norm_into(&x, &weight, &bias, 1e-5, &mut y);
    layer_norm_into_at(level(), &x, &weight, &bias, 1e-5, &mut expected);
    assert!(y == expected);
    y.copy_from_slice(&x);
    layer_norm(&mut y, &weight, &bias, 1e-5);
    assert!(y == expected);
    rms_norm(&mut [], &[], 1e-5, false);
}

#[test]
#[should_panic = "7 values are no whole number of rows 3 wide"]
fn part_of_a_row_is_refused() {
    rms_norm(&mut [0.0; 7], &[1.0; 3], 1e-5, false);
}
