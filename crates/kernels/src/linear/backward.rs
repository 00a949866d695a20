//! The gradients of [`linear`](super::linear).

use super::LANES;
use super::multiply::{Second, multiply};
use crate::level::{Level, level};

/// The gradient of the input, `dx = dy · W`.
///
/// # Shapes
///
/// - `grad`: `[rows, outputs]`, `weight`: `[outputs, inputs]`, `out`: `[rows, inputs]`, overwritten
///
/// # Panics
///
/// If the lengths do not fit each other.
pub fn linear_backward_input(grad: &[f32], weight: &[f32], inputs: usize, out: &mut [f32]) {
    input_at(level(), grad, weight, inputs, out, false);
}

/// [`linear_backward_input`], added to `out`.
///
/// # Panics
///
/// If the lengths do not fit each other.
pub fn add_linear_backward_input(grad: &[f32], weight: &[f32], inputs: usize, out: &mut [f32]) {
    input_at(level(), grad, weight, inputs, out, true);
}

fn input_at(level: Level, grad: &[f32], weight: &[f32], inputs: usize, out: &mut [f32], add: bool) {
    let outputs = weight.len() / inputs.max(1);
    assert_eq!(weight.len(), outputs * inputs, "rows of {inputs} inputs");
    multiply(level, grad, Second::Rows(weight), [outputs, inputs], out, add);
}

/// The gradient of the weight, `dW = dyᵀ · x`.
///
/// # Shapes
///
/// - `grad`: `[rows, outputs]`, `x`: `[rows, inputs]`, `out`: `[outputs, inputs]`, overwritten
///
/// # Panics
///
/// If the lengths do not fit each other.
pub fn linear_backward_weight(grad: &[f32], x: &[f32], inputs: usize, out: &mut [f32]) {
    weight_at(level(), grad, x, inputs, out);
}

fn weight_at(level: Level, grad: &[f32], x: &[f32], inputs: usize, out: &mut [f32]) {
    let (rows, outputs) = (x.len() / inputs.max(1), out.len() / inputs.max(1));
    assert!(x.len() == rows * inputs && out.len() == outputs * inputs, "rows of {inputs} inputs");
    assert_eq!(grad.len(), rows * outputs, "{rows} rows of {outputs} outputs");
    if outputs <= inputs {
        return multiply(level, &transposed(grad, outputs), Second::Rows(x), [rows, inputs], out, false);
    }
    // The narrower of the two is turned round, and then the result, which is no longer than it or as narrow.
    let mut turned = vec![0.0; out.len()];
    multiply(level, &transposed(x, inputs), Second::Rows(grad), [rows, outputs], &mut turned, false);
    transpose(&turned, outputs, out);
}

/// `x`, `[rows, width]`, turned round.
fn transposed(x: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    transpose(x, width, &mut out);
    out
}

/// Writes `x`, `[rows, width]`, to `out` turned round.
fn transpose(x: &[f32], width: usize, out: &mut [f32]) {
    if x.is_empty() {
        return;
    }
    let rows = x.len() / width;
    // In squares, so that both sides are read and written a few lines of the cache at a time.
    for (first, out) in (0..).step_by(LANES).zip(out.chunks_mut(LANES * rows)) {
        for start in (0..rows).step_by(LANES) {
            for (column, out) in out.chunks_exact_mut(rows).enumerate() {
                let out = &mut out[start..rows.min(start + LANES)];
                for (row, out) in out.iter_mut().enumerate() {
                    *out = x[(start + row) * width + first + column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, values, wide};

    /// `a · b` in f64.
    fn product(a: &[f32], b: &[f32], [depth, width]: [usize; 2]) -> Vec<f64> {
        let (a, b) = (wide(a), wide(b));
        let sum = |row: &[f64], column: usize| (0..depth).map(|at| row[at] * b[at * width + column]).sum();
        a.chunks(depth).flat_map(|row| (0..width).map(|column| sum(row, column)).collect::<Vec<f64>>()).collect()
    }

    fn turned(x: &[f32], width: usize) -> Vec<f32> {
        (0..width).flat_map(|column| x.iter().skip(column).step_by(width).copied()).collect()
    }

    proptest! {
        #[test]
        fn gradients_are_those_of_f64(rows in 0usize..50, inputs in 1usize..70, outputs in 1usize..70, seed: u64) {
            let (x, weight) = (values(rows * inputs, seed), values(outputs * inputs, seed ^ 1));
            let grad = values(rows * outputs, seed ^ 2);
            for level in Level::available() {
                let mut out = vec![f32::NAN; x.len()];
                input_at(level, &grad, &weight, inputs, &mut out, false);
                assert_close(&out, &product(&grad, &weight, [outputs, inputs]), 1e-5, 1e-4, level.name());

                let mut out = vec![f32::NAN; weight.len()];
                weight_at(level, &grad, &x, inputs, &mut out);
                match rows {
                    0 => prop_assert!(out.iter().all(|x| *x == 0.0)),
                    _ => {
                        let expected = product(&turned(&grad, outputs), &x, [rows, inputs]);
                        assert_close(&out, &expected, 1e-5, 1e-4, level.name());
                    }
                }
            }
        }
    }

    #[test]
    fn parts_and_blocks_fit_together() {
        for (rows, inputs, outputs) in [(1, 600, 1201), (300, 16, 700), (70, 130, 3100), (301, 700, 97), (130, 33, 16)]
        {
            let (x, weight) = (values(rows * inputs, 1), values(outputs * inputs, 2));
            let grad = values(rows * outputs, 3);
            let mut out = vec![f32::NAN; x.len()];
            linear_backward_input(&grad, &weight, inputs, &mut out);
            let expected = product(&grad, &weight, [outputs, inputs]);
            assert_close(&out, &expected, 1e-5, 2e-3, "input");
            add_linear_backward_input(&grad, &weight, inputs, &mut out);
            let twice: Vec<f64> = expected.iter().map(|x| 2.0 * x).collect();
            assert_close(&out, &twice, 1e-5, 4e-3, "input");
            let mut out = vec![f32::NAN; weight.len()];
            linear_backward_weight(&grad, &x, inputs, &mut out);
            assert_close(&out, &product(&turned(&grad, outputs), &x, [rows, inputs]), 1e-5, 2e-3, "weight");
        }
    }

    #[test]
    fn nothing_gives_zeros() {
        let mut out = [1.0; 6];
        linear_backward_input(&[], &[], 3, &mut out);
        assert_eq!(out, [0.0; 6]);
        out.fill(1.0);
        linear_backward_weight(&[], &[], 3, &mut out);
        assert_eq!(out, [0.0; 6]);
        linear_backward_input(&[], &[0.0; 6], 3, &mut []);
    }

    #[test]
    #[should_panic(expected = "rows of 4 inputs")]
    fn part_of_a_row_is_refused() {
        linear_backward_input(&[0.0; 2], &[0.0; 7], 4, &mut [0.0; 4]);
    }
}
