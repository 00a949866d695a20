//! A linear layer with a low-rank adapter beside it, in one operation.

use burn::tensor::Tensor;
use safevlm_core::gradients::Input;
use safevlm_core::host::HostTensor;
use safevlm_core::profile::Work;
use safevlm_kernels::linear::{
    add_linear, add_linear_backward_input, linear, linear_backward_input, linear_backward_weight,
};

use super::F32;
use super::differentiable::{computed, filled};
use super::linear::{LINEAR, product};

/// `x · Wᵀ + scale · (x · Aᵀ) · Bᵀ`
///
/// # Shapes
///
/// - x `[rows, inputs]`, weight `[outputs, inputs]`, a `[rank, inputs]`, b `[outputs, rank]`,
///   output `[rows, outputs]`
pub(crate) fn adapted_product(x: Tensor<2>, weight: Tensor<2>, [a, b]: [Tensor<2>; 2], scale: f64) -> Tensor<2> {
    let ([rows, inputs], [outputs, rank]) = (x.dims(), b.dims());
    let fits = weight.dims() == [outputs, inputs] && a.dims() == [rank, inputs];
    let tensors = [&x, &weight, &a, &b].map(Input::of);
    let ([Some(x), Some(weight), Some(a), Some(b)], true) = (tensors, fits) else {
        let low = product(x.clone(), a).mul_scalar(scale);
        return product(x, weight) + product(low, b);
    };
    let scale = scale as f32;
    // What the adapter makes of the input before it widens it again.
    let lowered = move |x: &[f32], a: &[f32]| scaled(filled(rows * rank, |out| linear(x, a, inputs, out)), scale);
    let forward = |[x, weight, a, b]: [&[f32]; 4]| {
        let mut out = filled(rows * outputs, |out| linear(x, weight, inputs, out));
        add_linear(&lowered(x, a), b, rank, &mut out);
        out
    };
    let backward = move |[x, weight, a, b]: [&[f32]; 4], grad: HostTensor, learn: [bool; 4]| {
        let [of_x, of_weight, of_a, of_b] = learn;
        let grad = grad.values();
        let low = match of_x || of_a {
            true => scaled(filled(rows * rank, |out| linear_backward_input(grad, b, rank, out)), scale),
            false => Vec::new(),
        };
        let through = |out: &mut [f32]| {
            linear_backward_input(grad, weight, inputs, out);
            add_linear_backward_input(&low, a, inputs, out);
        };
        [
            of_x.then(|| filled(rows * inputs, through)),
            of_weight.then(|| filled(outputs * inputs, |out| linear_backward_weight(grad, x, inputs, out))),
            of_a.then(|| filled(rank * inputs, |out| linear_backward_weight(&low, x, inputs, out))),
            of_b.then(|| filled(outputs * rank, |out| linear_backward_weight(grad, &lowered(x, a), rank, out))),
        ]
    };
    let keep = |[x, weight, a, b]: [bool; 4]| [weight || a || b, x, x || b, x || a];
    let weights = inputs * outputs + rank * (inputs + outputs);
    let work = Work { flops: 2.0 * (rows * weights) as f64, bytes: F32 * (rows * (inputs + outputs) + weights) as f64 };
    computed(LINEAR, work, [x, weight, a, b], [rows, outputs], forward, keep, backward)
}

fn scaled(mut x: Vec<f32>, scale: f32) -> Vec<f32> {
    x.iter_mut().for_each(|x| *x *= scale);
    x
}
