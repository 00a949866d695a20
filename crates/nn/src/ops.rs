//! What this project computes itself where a tensor lies in main memory: the seam between Burn's tensors and the
//! slices of `safevlm_kernels`, with gradients (`differentiable`). On every other device Burn's operations compute.
#![allow(clippy::result_large_err, reason = "a tensor that cannot be used is given back")]

mod adapted;
mod attention;
mod convolution;
mod cross_entropy;
mod differentiable;
mod linear;
mod norm;

use burn::tensor::Tensor;
use safevlm_core::gradients::Input;
use safevlm_core::host::{self, HostTensor};
use safevlm_core::profile::{Work, operation};

pub(crate) use adapted::adapted_product;
pub use attention::self_attention;
pub(crate) use attention::{attention, learning_attention};
pub use convolution::{Moves, convolution};
pub use cross_entropy::cross_entropy;
use differentiable::{Name, computed, filled};
pub use linear::product;
pub(crate) use linear::products;
pub(crate) use norm::{layer_norm, rms_norm};

const F32: f64 = 4.0;

/// A function of each value, in place.
pub(crate) type Change = fn(&mut [f32]);
/// What turns the gradient of its output into that of its input, which it is given.
pub(crate) type ChangeBack = fn(&[f32], &mut [f32]);
/// A function of each value and of another one, in place.
pub(crate) type ChangeWith = fn(&mut [f32], &[f32]);
/// What turns the gradient of its output into that of the first input, and writes that of the second.
pub(crate) type ChangeWithBack = fn(&[f32], &[f32], &mut [f32], &mut [f32]);

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

/// A function of each value of `x`, in place where no gradient is kept; gives `x` back where its values are not at
/// hand. `backward` turns the output's gradient into that of `x`.
///
/// # Errors
///
/// `x` as it was.
pub(crate) fn map<const D: usize>(x: Tensor<D>, change: Change, backward: ChangeBack) -> Result<Tensor<D>, Tensor<D>> {
    let x = match in_place("activation", x, change) {
        Ok(changed) => return Ok(changed),
        Err(x) => x,
    };
    let Some(input) = Input::of(&x) else { return Err(x) };
    let forward = |[x]: [&[f32]; 1]| {
        let mut out = x.to_vec();
        change(&mut out);
        out
    };
    let back = move |[x]: [&[f32]; 1], grad: HostTensor, _| {
        let mut grad = grad.into_values();
        backward(x, &mut grad);
        [Some(grad)]
    };
    Ok(computed(ACTIVATION, moves(2 * x.shape().num_elements()), [input], x.dims(), forward, |_| [true], back))
}

/// A function of each value of `x` and of that of `y` at its place, as [`map`]. `backward` is given both, the output's
/// gradient, which becomes that of `x`, and room for the gradient of `y`.
///
/// # Errors
///
/// Both as they were.
pub(crate) fn map_with<const D: usize>(
    x: Tensor<D>,
    y: Tensor<D>,
    change: ChangeWith,
    backward: ChangeWithBack,
) -> Result<Tensor<D>, (Tensor<D>, Tensor<D>)> {
    let x = match HostTensor::of(&y) {
        None => x,
        Some(others) => match in_place("activation", x, |x| change(x, others.values())) {
            Ok(changed) => return Ok(changed),
            Err(x) => x,
        },
    };
    let (Some(first), Some(second)) = (Input::of(&x), Input::of(&y)) else { return Err((x, y)) };
    let forward = |[x, y]: [&[f32]; 2]| {
        let mut out = x.to_vec();
        change(&mut out, y);
        out
    };
    let back = move |[x, y]: [&[f32]; 2], grad: HostTensor, _| {
        let mut grad = grad.into_values();
        let other = filled(grad.len(), |other| backward(x, y, &mut grad, other));
        [Some(grad), Some(other)]
    };
    let work = moves(3 * x.shape().num_elements());
    Ok(computed(ACTIVATION, work, [first, second], x.dims(), forward, |_| [true; 2], back))
}

const ACTIVATION: Name = Name { forward: "activation", backward: "activation backward" };

/// The values of a plain tensor.
///
/// # Panics
///
/// If it is not plain, which is a mistake of the caller.
pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    host::take(x).unwrap_or_else(|x| panic!("a tensor of {:?} is not plainly in main memory", x.dtype()))
}

/// The work of touching so many values.
fn moves(values: usize) -> Work {
    Work { flops: 0.0, bytes: F32 * values as f64 }
}
