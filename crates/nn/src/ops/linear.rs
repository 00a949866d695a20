//! Products with the weights of linear layers: parameters, with gradients, and blocks of few bits.

use burn::tensor::Tensor;
use safevlm_core::gradients::Input;
use safevlm_core::host::{self, HostTensor};
use safevlm_core::profile::{Work, operation};
use safevlm_kernels::linear::{linear, linear_backward_input, linear_backward_weight, linear_many};
use safevlm_kernels::quant::{QuantizedMatrix, matmul_many};

use super::F32;
use super::differentiable::{Name, computed, filled};
use crate::weight::Weight;

pub(super) const LINEAR: Name = Name { forward: "linear", backward: "linear backward" };

/// `x · Wᵀ`
///
/// # Shapes
///
/// - x `[rows, inputs]`, weight `[outputs, inputs]`, output `[rows, outputs]`
pub fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let ([rows, inputs], [outputs, weights]) = (x.dims(), weight.dims());
    let (Some(values), Some(matrix), true) = (Input::of(&x), Input::of(&weight), inputs == weights) else {
        return x.matmul(weight.transpose());
    };
    let work = Work {
        flops: 2.0 * (rows * inputs * outputs) as f64,
        bytes: F32 * (rows * inputs + inputs * outputs + rows * outputs) as f64,
    };
    let forward = |[x, weight]: [&[f32]; 2]| filled(rows * outputs, |out| linear(x, weight, inputs, out));
    let backward = move |[x, weight]: [&[f32]; 2], grad: HostTensor, [of_x, of_weight]: [bool; 2]| {
        let grad = grad.values();
        [
            of_x.then(|| filled(rows * inputs, |out| linear_backward_input(grad, weight, inputs, out))),
            of_weight.then(|| filled(outputs * inputs, |out| linear_backward_weight(grad, x, inputs, out))),
        ]
    };
    // Each is needed for the gradient of the other.
    computed(LINEAR, work, [values, matrix], [rows, outputs], forward, |[x, weight]| [weight, x], backward)
}

/// `x · Wᵀ` for each of `weights`. Blocks are multiplied as they are stored, with `x` rounded once to eight bits in
/// groups of 32; where `x` is not plainly in main memory, they are dequantised first.
///
/// # Shapes
///
/// - x `[rows, inputs]`, each weight `[outputs, inputs]`, each output `[rows, its outputs]`
pub(crate) fn products<const N: usize>(x: &Tensor<2>, weights: [&Weight; N]) -> [Tensor<2>; N] {
    let blocks: Vec<&QuantizedMatrix> = weights.iter().filter_map(|weight| weight.blocks()).collect();
    if blocks.len() == N
        && let Some(values) = HostTensor::of(x)
    {
        let mut outputs = quantized(x, values.values(), &blocks).into_iter();
        return weights.map(|weight| {
            let [columns, _] = weight.dims();
            host::tensor(outputs.next().unwrap_or_default(), [x.dims()[0], columns], &x.device())
        });
    }
    if blocks.is_empty() || N == 1 {
        return dense(x, weights.map(|weight| weight.on(&x.device(), x.dtype())));
    }
    // Some are parameters and some blocks: each goes its own way.
    weights.map(|weight| {
        let [y] = products(x, [weight]);
        y
    })
}

fn quantized(x: &Tensor<2>, values: &[f32], blocks: &[&QuantizedMatrix]) -> Vec<Vec<f32>> {
    let [rows, inputs] = x.dims();
    let mut outputs: Vec<Vec<f32>> = blocks.iter().map(|blocks| vec![0.0; rows * blocks.rows()]).collect();
    let work = || {
        let outputs: usize = blocks.iter().map(|blocks| blocks.rows()).sum();
        let stored: usize = blocks.iter().map(|blocks| blocks.size()).sum();
        Work {
            flops: 2.0 * (rows * inputs * outputs) as f64,
            bytes: stored as f64 + F32 * (rows * (inputs + outputs)) as f64,
        }
    };
    operation("linear, quantized", work, || {
        let mut products: Vec<_> = blocks.iter().zip(&mut outputs).map(|(blocks, y)| (*blocks, &mut y[..])).collect();
        matmul_many(values, &mut products);
    });
    outputs
}

fn dense<const N: usize>(x: &Tensor<2>, weights: [Tensor<2>; N]) -> [Tensor<2>; N] {
    let [rows, inputs] = x.dims();
    let values = HostTensor::of(x).filter(|_| weights.iter().all(|weight| weight.dims()[1] == inputs));
    let lent: Vec<HostTensor> = weights.iter().filter_map(HostTensor::of).collect();
    let (Some(values), true) = (values, lent.len() == N) else {
        return weights.map(|weight| product(x.clone(), weight));
    };
    let outputs: usize = weights.iter().map(|weight| weight.dims()[0]).sum();
    let work = || Work {
        flops: 2.0 * (rows * inputs * outputs) as f64,
        bytes: F32 * (rows * inputs + inputs * outputs + rows * outputs) as f64,
    };
    let mut out = weights.each_ref().map(|weight| vec![0.0; rows * weight.dims()[0]]);
    operation("linear", work, || {
        let mut products: Vec<_> = lent.iter().zip(&mut out).map(|(weight, y)| (weight.values(), &mut y[..])).collect();
        linear_many(values.values(), inputs, &mut products);
    });
    let mut nth = 0;
    out.map(|y| {
        let [outputs, _] = weights[nth].dims();
        nth += 1;
        host::tensor(y, [rows, outputs], &x.device())
    })
}
