//! The one way in which operations of this project become operations of Burn, gradients included.

use burn::tensor::Tensor;
use safevlm_core::gradients::{Input, record};
use safevlm_core::host::HostTensor;
use safevlm_core::profile::{Work, operation};

/// What an operation is called in a profile, forward and backward.
pub(super) struct Name {
    pub(super) forward: &'static str,
    pub(super) backward: &'static str,
}

/// The inputs of an operation as slices; one that was not kept is empty.
pub(super) type Slices<'a, const N: usize> = [&'a [f32]; N];

/// A tensor that `forward` makes of inputs in main memory.
///
/// `backward` is given the inputs that `keep` asked for (of those that learn, as it is told), the gradient of the
/// output, and which inputs learn; it gives their gradients.
pub(super) fn computed<const D: usize, const N: usize>(
    name: Name,
    work: Work,
    inputs: [Input; N],
    shape: [usize; D],
    forward: impl FnOnce(Slices<N>) -> Vec<f32>,
    keep: impl FnOnce([bool; N]) -> [bool; N],
    backward: impl FnOnce(Slices<N>, HostTensor, [bool; N]) -> [Option<Vec<f32>>; N] + Send + 'static,
) -> Tensor<D> {
    let values = inputs.each_ref().map(Input::values);
    let out = operation(name.forward, || work, || forward(values.each_ref().map(HostTensor::values)));
    let kept = keep(inputs.each_ref().map(Input::learns));
    let mut nth = 0..N;
    let kept: [Option<HostTensor>; N] = values.map(|values| nth.next().filter(|nth| kept[*nth]).map(|_| values));
    record(inputs, out, shape, move |gradient, wanted| {
        let slices = kept.each_ref().map(|kept| kept.as_ref().map_or(&[][..], HostTensor::values));
        operation(name.backward, || work, || backward(slices, gradient, wanted))
    })
}

/// `len` values that `fill` writes.
pub(super) fn filled(len: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut out = vec![0.0; len];
    fill(&mut out);
    out
}
