//! Cross-entropy of rows of logits, with gradients.

use burn::tensor::Tensor;
use safevlm_core::gradients::Input;
use safevlm_core::host::HostTensor;
use safevlm_kernels::cross_entropy as kernels;

use super::differentiable::{Name, computed, filled};
use super::moves;

/// `-ln(softmax(logits)[target])` of each row; none where the values are not at hand, or a target is no class.
///
/// # Shapes
///
/// - logits `[rows, classes]`, targets and output `[rows]`
pub fn cross_entropy(logits: &Tensor<2>, targets: &[i32]) -> Option<Tensor<1>> {
    let [rows, classes] = logits.dims();
    let class = |target: &i32| u32::try_from(*target).ok().filter(|target| (*target as usize) < classes);
    let targets: Vec<u32> = targets.iter().map(class).collect::<Option<_>>()?;
    let input = Input::of(logits).filter(|_| targets.len() == rows)?;
    let work = moves(rows * classes);
    let of_backward = targets.clone();
    let forward = |[logits]: [&[f32]; 1]| {
        filled(rows, |out| kernels::cross_entropy(logits, &targets, classes, out, &mut vec![0.0; rows]))
    };
    let backward = move |[logits]: [&[f32]; 1], grad: HostTensor, _| {
        let mut losses = vec![0.0; rows];
        let sums = filled(rows, |sums| kernels::cross_entropy(logits, &of_backward, classes, &mut losses, sums));
        let back = |out: &mut [f32]| {
            kernels::cross_entropy_backward(logits, &of_backward, &sums, grad.values(), classes, out);
        };
        [Some(filled(logits.len(), back))]
    };
    let name = Name { forward: "cross-entropy", backward: "cross-entropy backward" };
    Some(computed(name, work, [input], [rows], forward, |_| [true], backward))
}
