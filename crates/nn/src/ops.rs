//! What this project computes itself where a tensor lies in main memory: the seam between Burn's tensors and the
//! slices of `safevlm_kernels`. On every other device, and where gradients are kept, Burn's operations compute.
#![allow(clippy::result_large_err, reason = "a tensor that cannot be used is given back")]

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, module};
use safevlm_core::host::{self, HostTensor};
use safevlm_core::profile::{Work, operation};
use safevlm_kernels as kernels;
use safevlm_kernels::attention::{Attention, Heads, Order};
use safevlm_kernels::convolution::{Affine, Convolution, convolve};
use safevlm_kernels::linear::linear_many;
use safevlm_kernels::quant::{QuantizedMatrix, matmul_many};

use crate::weight::Weight;

const F32: f64 = 4.0;

/// Changes the values of `x` in place; gives `x` back where they are not at hand.
///
/// # Errors
///
/// `x` as it was.
pub(crate) fn in_place<const D: usize>(
    name: &'static str,
    x: Tensor<D>,
    change: impl FnOnce(&mut [f32]),
) -> Result<Tensor<D>, Tensor<D>> {
    let (shape, device) = (x.dims(), x.device());
    let mut values = host::take(x)?;
    let count = values.len();
    operation(name, || moves(2 * count), || change(&mut values));
    Ok(host::tensor(values, shape, &device))
}

/// Changes the values of `x` in place with those of `y`, which has as many.
///
/// # Errors
///
/// Both as they were.
pub(crate) fn in_place_with<const D: usize>(
    name: &'static str,
    x: Tensor<D>,
    y: Tensor<D>,
    change: impl FnOnce(&mut [f32], &[f32]),
) -> Result<Tensor<D>, (Tensor<D>, Tensor<D>)> {
    let Some(others) = HostTensor::of(&y) else { return Err((x, y)) };
    let (shape, device) = (x.dims(), x.device());
    let mut values = match host::take(x) {
        Ok(values) => values,
        Err(x) => return Err((x, y)),
    };
    let count = values.len();
    operation(name, || moves(3 * count), || change(&mut values, others.values()));
    Ok(host::tensor(values, shape, &device))
}

/// A tensor of the shape of `x` made from the values of `x` and of `weights`, which are left alone; none where they
/// are not at hand.
pub(crate) fn made_of<const D: usize, const N: usize>(
    name: &'static str,
    x: &Tensor<D>,
    weights: [&Tensor<1>; N],
    make: impl FnOnce(&[f32], [&[f32]; N], &mut [f32]),
) -> Option<Tensor<D>> {
    let values = HostTensor::of(x)?;
    let weights: Vec<HostTensor> = weights.into_iter().map(HostTensor::of).collect::<Option<_>>()?;
    let weights: [&[f32]; N] = std::array::from_fn(|nth| weights[nth].values());
    let count = values.values().len();
    let mut out = vec![0.0; count];
    operation(name, || moves(2 * count), || make(values.values(), weights, &mut out));
    Some(host::tensor(out, x.dims(), &x.device()))
}

/// `x · Wᵀ`
///
/// # Shapes
///
/// - x `[rows, inputs]`, weight `[outputs, inputs]`, output `[rows, outputs]`
pub fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let [y] = dense(&x, [weight]);
    y
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
    if N == 1 || blocks.is_empty() {
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
        return weights.map(|weight| x.clone().matmul(weight.transpose()));
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

/// How a convolution moves over its input.
#[derive(Clone, Copy, Debug)]
pub struct Moves {
    /// Rows and columns from one place to the next.
    pub stride: usize,
    /// Zeros before and after each column, and before and after each row.
    pub padding: [(usize, usize); 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

/// A convolution, after which each channel is scaled, shifted and cut off; none where values are not at hand.
///
/// # Shapes
///
/// - x `[batch, channels, height, width]`, weight `[outputs, channels / groups, rows, columns]`, scale and shift
///   `[outputs]`
/// - output `[batch, outputs, new height, new width]`
pub fn convolution(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    moves: &Moves,
    [scale, shift]: [&Tensor<1>; 2],
    cut: Option<[f32; 2]>,
) -> Option<Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let [outputs, seen, rows, columns] = weight.dims();
    let shape = Convolution {
        batch,
        channels,
        size: [height, width],
        outputs,
        kernel: [rows, columns],
        stride: [moves.stride; 2],
        padding: moves.padding.map(|(before, after)| [before, after]),
        groups: moves.groups,
    };
    let (values, weights) = (HostTensor::of(x)?, HostTensor::of(weight)?);
    let (scale, shift) = (HostTensor::of(scale)?, HostTensor::of(shift)?);
    let affine = Affine { scale: Some(scale.values()), shift: shift.values(), cut };
    let [height, width] = shape.output_size();
    let mut out = vec![0.0; batch * outputs * height * width];
    let work = Work {
        flops: 2.0 * (out.len() * seen * rows * columns) as f64,
        bytes: F32 * (values.values().len() + weights.values().len() + out.len()) as f64,
    };
    operation("convolution", || work, || convolve(&shape, values.values(), weights.values(), Some(affine), &mut out));
    Some(host::tensor(out, [batch, outputs, height, width], &x.device()))
}

/// The values of a plain tensor.
///
/// # Panics
///
/// If it is not plain, which is a mistake of the caller.
pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    host::take(x).unwrap_or_else(|x| panic!("a tensor of {:?} is not plainly in main memory", x.dtype()))
}

/// Attention over heads in main memory.
///
/// # Shapes
///
/// - output `[batch, queries, heads, head_dim]`
pub(crate) fn attention(shape: &Attention<'_>, query: Heads<'_>, key: Heads<'_>, value: Heads<'_>) -> Vec<f32> {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    let mut out = vec![0.0; batch * queries * heads * head_dim];
    let work = || Work {
        // What is hidden counts too.
        flops: 4.0 * (batch * queries * keys * heads * head_dim) as f64,
        bytes: F32 * (2 * batch * head_dim * (queries * heads + keys * kv_heads)) as f64,
    };
    operation("attention", work, || kernels::attention::attention(shape, query, key, value, &mut out));
    out
}

/// Attention in which every token sees every other of its row.
///
/// # Shapes
///
/// - queries, keys, values and output `[rows, tokens, heads, head_dim]`
pub fn self_attention(qkv: [Tensor<4>; 3]) -> Tensor<4> {
    let dims = qkv[0].dims();
    let [batch, tokens, heads, head_dim] = dims;
    let device = qkv[0].device();
    if !host::is_plain(&qkv[0]) {
        let [query, key, value] = qkv.map(|x| x.swap_dims(1, 2));
        return module::attention(query, key, value, None, None, AttentionModuleOptions::default()).swap_dims(1, 2);
    }
    let shape = Attention {
        batch,
        queries: tokens,
        keys: tokens,
        heads,
        kv_heads: heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        order: Order::Both,
        hidden: None,
    };
    let qkv = qkv.map(values);
    let [query, key, value] = qkv.each_ref().map(|x| Heads::by_token(x, tokens, heads, head_dim));
    host::tensor(attention(&shape, query, key, value), dims, &device)
}

/// The work of touching so many values.
fn moves(values: usize) -> Work {
    Work { flops: 0.0, bytes: F32 * values as f64 }
}
