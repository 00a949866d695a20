//! Norms over the last axis, with gradients.

use burn::tensor::Tensor;
use safevlm_core::gradients::Input;
use safevlm_core::host::HostTensor;
use safevlm_kernels::norm::{
    layer_norm_backward, layer_norm_into, layer_norm_weight_backward, rms_norm_backward, rms_norm_into,
    rms_norm_weight_backward,
};

use super::differentiable::{Name, computed, filled};
use super::moves;

const NORM: Name = Name { forward: "norm", backward: "norm backward" };

/// [`rms_norm_into`]; none where the values are not at hand.
///
/// # Shapes
///
/// - x and output `[.., width]`, weight `[width]`
pub(crate) fn rms_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    eps: f32,
    unit_offset: bool,
) -> Option<Tensor<D>> {
    let [width] = weight.dims();
    let forward = |[x, weight]: [&[f32]; 2]| filled(x.len(), |out| rms_norm_into(x, weight, eps, unit_offset, out));
    let backward = move |[x, weight]: [&[f32]; 2], grad: HostTensor, [of_x, of_weight]: [bool; 2]| {
        let of_weight = of_weight.then(|| filled(width, |out| rms_norm_weight_backward(x, eps, grad.values(), out)));
        let of_x = of_x.then(|| {
            let mut grad = grad.into_values();
            rms_norm_backward(x, weight, eps, unit_offset, &mut grad);
            grad
        });
        [of_x, of_weight]
    };
    let (work, inputs) = (moves(2 * x.shape().num_elements()), [Input::of(x)?, Input::of(weight)?]);
    Some(computed(NORM, work, inputs, x.dims(), forward, |[x, weight]| [x || weight, x], backward))
}

/// [`layer_norm_into`]; none where the values are not at hand.
///
/// # Shapes
///
/// - x and output `[.., width]`, weight and bias `[width]`
pub(crate) fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    [weight, bias]: [&Tensor<1>; 2],
    eps: f32,
) -> Option<Tensor<D>> {
    let [width] = weight.dims();
    let forward = |[x, weight, bias]: [&[f32]; 3]| filled(x.len(), |out| layer_norm_into(x, weight, bias, eps, out));
    let backward = move |[x, weight, _]: [&[f32]; 3], grad: HostTensor, [of_x, of_weight, of_bias]: [bool; 3]| {
        let (mut for_weight, mut for_bias) = (vec![0.0; width], vec![0.0; width]);
        if of_weight || of_bias {
            layer_norm_weight_backward(x, eps, grad.values(), &mut for_weight, &mut for_bias);
        }
        let of_x = of_x.then(|| {
            let mut grad = grad.into_values();
            layer_norm_backward(x, weight, eps, &mut grad);
            grad
        });
        [of_x, of_weight.then_some(for_weight), of_bias.then_some(for_bias)]
    };
    let work = moves(2 * x.shape().num_elements());
    let inputs = [Input::of(x)?, Input::of(weight)?, Input::of(bias)?];
    let keep = |[x, weight, bias]: [bool; 3]| [x || weight || bias, x, false];
    Some(computed(NORM, work, inputs, x.dims(), forward, keep, backward))
}
