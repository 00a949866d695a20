use proptest::prelude::*;

use super::*;
use crate::testing::{assert_close, values, wide};

fn reference(x: &[f32], weight: &[f32], inputs: usize) -> Vec<f64> {
    let (x, weight) = (wide(x), wide(weight));
    let dot = |x: &[f64], weight: &[f64]| x.iter().zip(weight).map(|(x, weight)| x * weight).sum();
    x.chunks(inputs).flat_map(|x| weight.chunks(inputs).map(|weight| dot(x, weight)).collect::<Vec<_>>()).collect()
}

proptest! {
    #[test]
    fn products_are_those_of_f64(rows in 0usize..50, inputs in 1usize..100, outputs in 0usize..40, seed: u64) {
        let (x, weight) = (values(rows * inputs, seed), values(outputs * inputs, seed ^ 1));
        for level in Level::available() {
            let mut y = vec![f32::NAN; rows * outputs];
            linear_at(level, &x, inputs, &mut [(&weight, &mut y)]);
            assert_close(&y, &reference(&x, &weight, inputs), 1e-5, 1e-4, level.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn many_products_are_each_one_s(
        rows in 0usize..12, inputs in 0usize..300, outputs in prop::collection::vec(0usize..90, 0..4), seed: u64,
    ) {
        let x = values(rows * inputs, seed);
        let weights: Vec<_> = outputs.iter().map(|outputs| values(outputs * inputs, seed ^ *outputs as u64)).collect();
        for level in Level::available() {
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                // Without inputs there are no rows either: as many outputs as are asked for are 0.
                let mut all: Vec<_> = outputs.iter().map(|outputs| vec![f32::NAN; rows * outputs]).collect();
                let mut products: Vec<_> =
                    weights.iter().zip(&mut all).map(|(weight, y)| (&weight[..], &mut y[..])).collect();
                pool.install(|| linear_at(level, &x, inputs, &mut products));
                for ((weight, y), outputs) in weights.iter().zip(&all).zip(&outputs) {
                    let mut one = vec![f32::NAN; rows * outputs];
                    linear_at(level, &x, inputs, &mut [(weight, &mut one)]);
                    prop_assert!(*y == one, "{} rows of {inputs} on {}", rows, level.name());
                }
            }
        }
    }
}

#[test]
fn parts_and_blocks_fit_together() {
    for (rows, inputs, outputs) in
        [(1, 600, 1201), (8, 512, 700), (9, 512, 700), (70, 3100, 130), (300, 64, 97), (30, 1500, 16), (90, 16, 700)]
    {
        let (x, weight) = (values(rows * inputs, 1), values(outputs * inputs, 2));
        let mut y = vec![f32::NAN; rows * outputs];
        linear(&x, &weight, inputs, &mut y);
        let expected = reference(&x, &weight, inputs);
        assert_close(&y, &expected, 1e-5, 2e-3, "large");
        add_linear(&x, &weight, inputs, &mut y);
        let twice: Vec<f64> = expected.iter().map(|y| 2.0 * y).collect();
        assert_close(&y, &twice, 1e-5, 4e-3, "added");
    }
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    // What is not finite stays in its own row and column.
    let (inputs, outputs) = (37, 13);
    for rows in [3, 20] {
        let (mut x, weight) = (values(rows * inputs, 3), values(outputs * inputs, 4));
        let (mut before, mut after) = (vec![0.0; rows * outputs], vec![0.0; rows * outputs]);
        linear(&x, &weight, inputs, &mut before);
        x[inputs + 5] = f32::NAN;
        x[2 * inputs + 5] = f32::INFINITY;
        linear(&x, &weight, inputs, &mut after);
        assert!(after[outputs..2 * outputs].iter().all(|y| y.is_nan()));
        assert!(after[2 * outputs..3 * outputs].iter().all(|y| !y.is_finite()));
        assert_eq!(before[..outputs], after[..outputs]);
        assert_eq!(before[3 * outputs..], after[3 * outputs..]);
    }
}

#[test]
#[should_panic(expected = "rows of 4 inputs")]
fn part_of_a_row_is_refused() {
    linear(&[0.0; 7], &[0.0; 8], 4, &mut [0.0; 2]);
}

#[test]
fn without_inputs_all_is_zero() {
    let mut y = [1.0; 3];
    linear(&[], &[], 0, &mut y);
    assert_eq!(y, [0.0; 3]);
}
