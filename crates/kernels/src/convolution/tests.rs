use proptest::prelude::*;

use super::*;
use crate::testing::{assert_close, values, wide};

/// PyTorch's definition, place by place.
fn reference(shape: &Convolution, x: &[f32], weight: &[f32], affine: Option<Affine>) -> Vec<f64> {
    let ([height, width], [rows, columns]) = (shape.output_size(), shape.kernel);
    let (x, weight) = (wide(x), wide(weight));
    let (seen, group) = (shape.seen(), shape.group());
    let mut y = Vec::new();
    for image in 0..shape.batch {
        for output in 0..shape.outputs {
            let [scale, shift, least, most] = Finishes(affine).of(output).map(f64::from);
            for place in 0..height * width {
                let mut sum = 0.0;
                for channel in 0..seen {
                    for tap in 0..rows * columns {
                        let at = |side: usize, place: usize, tap: usize| {
                            let at = (place * shape.stride[side] + tap).checked_sub(shape.padding[side][0]);
                            at.filter(|at| *at < shape.size[side])
                        };
                        let weight = weight[(output * seen + channel) * rows * columns + tap];
                        let plane = image * shape.channels + output / group * seen + channel;
                        let place = at(0, place / width, tap / columns).zip(at(1, place % width, tap % columns));
                        let x = place.map(|(y, z)| x[(plane * shape.size[0] + y) * shape.size[1] + z]);
                        sum += weight * x.unwrap_or(0.0);
                    }
                }
                let value = sum * scale + shift;
                y.push(if value.is_nan() { value } else { value.clamp(least, most) });
            }
        }
    }
    y
}

fn inputs(shape: &Convolution, seed: u64) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let x = values(shape.batch * shape.channels * shape.size[0] * shape.size[1], seed);
    let weight = values(shape.outputs * shape.depth(), seed ^ 1);
    let [height, width] = shape.output_size();
    (x, weight, vec![f32::NAN; shape.batch * shape.outputs * height * width])
}

fn check(shape: &Convolution, seed: u64, cut: Option<[f32; 2]>) {
    let (x, weight, y) = inputs(shape, seed);
    let (scale, shift) = (values(shape.outputs, seed ^ 2), values(shape.outputs, seed ^ 3));
    let full = Affine { scale: Some(&scale), shift: &shift, cut };
    for affine in [None, Some(full), Some(Affine { scale: None, ..full })] {
        let expected = reference(shape, &x, &weight, affine);
        for level in Level::available() {
            let mut y = y.clone();
            convolve_at(level, shape, &x, &weight, affine, &mut y);
            assert_close(&y, &expected, 1e-5, 2e-4, &format!("{} {shape:?}", level.name()));
        }
    }
}

/// Any small convolution; the groups have 1 to 3 channels and 1 to 40 outputs.
fn shapes() -> impl Strategy<Value = Convolution> {
    let side = || (1usize..20, 1usize..6, 1usize..4, 0usize..4, 0usize..4);
    let outputs = prop_oneof![1usize..3, 14usize..40];
    (1usize..4, 1usize..4, 1usize..4, outputs, side(), side()).prop_map(
        |(batch, groups, seen, group, rows, columns)| Convolution {
            batch,
            channels: groups * seen,
            size: [rows.0, columns.0],
            outputs: groups * group,
            kernel: [rows.1, columns.1],
            stride: [rows.2, columns.2],
            padding: [[rows.3, rows.4], [columns.3, columns.4]],
            groups,
        },
    )
}

/// A kernel of one place, one group.
fn pointwise(batch: usize, channels: usize, size: [usize; 2], outputs: usize) -> Convolution {
    let (kernel, stride, padding) = ([1; 2], [1; 2], [[0; 2]; 2]);
    Convolution { batch, channels, size, outputs, kernel, stride, padding, groups: 1 }
}

proptest! {
    #[test]
    fn convolutions_are_those_of_f64(shape in shapes(), seed: u64) {
        check(&shape, seed, Some([0.0, 6.0]));
    }

    #[test]
    fn pointwise_ones_are_those_of_f64(
        batch in 1usize..4, channels in 1usize..40, rows in 1usize..24, columns in 1usize..24, outputs in 1usize..40,
        seed: u64,
    ) {
        check(&pointwise(batch, channels, [rows, columns], outputs), seed, None);
    }
}

#[test]
fn layers_of_encoders_are_those_of_f64() {
    let depthwise = |kernel: usize, stride: usize, side: usize, padding: [usize; 2]| Convolution {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        groups: 24,
        ..pointwise(3, 24, [side; 2], 24)
    };
    let shapes = [
        // Places in parts and blocks, with a remainder; a small map in parts of its outputs.
        pointwise(1, 24, [57, 56], 17),
        pointwise(1, 400, [20, 20], 20),
        pointwise(3, 520, [7, 7], 200),
        pointwise(1, 520, [14, 14], 30),
        depthwise(3, 1, 28, [1, 1]),
        depthwise(3, 2, 28, [0, 1]),
        depthwise(5, 1, 14, [2, 2]),
        depthwise(5, 2, 14, [1, 2]),
        depthwise(5, 1, 7, [2, 2]),
        depthwise(5, 1, 1, [2, 2]),
        // The first layer, and patches.
        Convolution { kernel: [3; 2], stride: [2; 2], padding: [[0, 1]; 2], ..pointwise(1, 3, [64; 2], 32) },
        Convolution { kernel: [14; 2], stride: [14; 2], ..pointwise(2, 3, [71; 2], 40) },
        // Few outputs of many places: parts are rows.
        Convolution { kernel: [3; 2], padding: [[1; 2]; 2], ..pointwise(1, 8, [67, 61], 5) },
    ];
    for (seed, shape) in (1..).zip(&shapes) {
        check(shape, seed, Some([0.0, 6.0]));
    }
}

#[test]
fn what_is_not_finite_stays_where_it_is_seen() {
    let seen = Convolution { kernel: [3; 2], padding: [[1; 2]; 2], ..pointwise(1, 4, [9; 2], 4) };
    let shapes = [Convolution { groups: 4, ..seen }, Convolution { outputs: 20, ..seen }, pointwise(1, 4, [9; 2], 20)];
    for shape in &shapes {
        let (mut x, weight, y) = inputs(shape, 5);
        x[40] = f32::NAN;
        x[8] = f32::INFINITY;
        let shift = vec![0.0; shape.outputs];
        let affine = Some(Affine { scale: None, shift: &shift, cut: Some([0.0, 6.0]) });
        let expected = reference(shape, &x, &weight, affine);
        for level in Level::available() {
            let mut y = y.clone();
            convolve_at(level, shape, &x, &weight, affine, &mut y);
            assert_close(&y, &expected, 1e-5, 2e-4, level.name());
            assert!(y[40].is_nan() && !y[30 + 9 * 2].is_infinite(), "{}", level.name());
        }
    }
}

#[test]
fn nothing_in_nothing_out() {
    convolve(&pointwise(0, 3, [4; 2], 5), &[], &[1.0; 15], None, &mut []);
    // The kernel is larger than the image.
    convolve(&Convolution { kernel: [5; 2], ..pointwise(1, 1, [4; 2], 1) }, &[1.0; 16], &[1.0; 25], None, &mut []);
    let mut y = [f32::NAN; 8];
    let affine = Affine { scale: None, shift: &[-1.0, 2.0], cut: Some([0.0, 6.0]) };
    convolve(&pointwise(1, 0, [2; 2], 2), &[], &[], Some(affine), &mut y);
    assert_eq!(y, [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0]);
}

#[test]
#[should_panic(expected = "the weights for")]
fn missing_weights_are_refused() {
    convolve(&pointwise(1, 2, [2; 2], 2), &[0.0; 8], &[0.0; 3], None, &mut [0.0; 8]);
}

#[test]
#[should_panic(expected = "the output's values for")]
fn a_short_output_is_refused() {
    convolve(&pointwise(1, 2, [2; 2], 2), &[0.0; 8], &[0.0; 4], None, &mut [0.0; 7]);
}

#[test]
#[should_panic(expected = "3 groups do not divide 4 channels")]
fn unequal_groups_are_refused() {
    let shape = Convolution { groups: 3, ..pointwise(1, 4, [2; 2], 6) };
    convolve(&shape, &[0.0; 16], &[0.0; 8], None, &mut [0.0; 24]);
}

#[test]
#[should_panic(expected = "a stride of 0")]
fn no_stride_is_refused() {
    let shape = Convolution { stride: [0, 1], ..pointwise(1, 1, [2; 2], 1) };
    convolve(&shape, &[0.0; 4], &[0.0; 1], None, &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "as many scales")]
fn missing_scales_are_refused() {
    let affine = Affine { scale: Some(&[1.0]), shift: &[0.0; 2], cut: None };
    convolve(&pointwise(1, 1, [2; 2], 2), &[0.0; 4], &[0.0; 2], Some(affine), &mut [0.0; 8]);
}
