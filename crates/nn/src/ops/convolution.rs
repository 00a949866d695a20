//! Convolutions with what follows them.

use burn::tensor::Tensor;
use safevlm_core::host::{self, HostTensor};
use safevlm_core::profile::{Work, operation};
use safevlm_kernels::convolution::{Affine, Convolution, convolve};

use super::F32;

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
