//! Layer normalisation.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor, module};

use crate::ops;
use crate::precision::{in_f32, widened};

/// Configuration of a [`LayerNorm`].
#[derive(Config, Debug)]
pub struct LayerNormConfig {
    /// Width of the normalised axis.
    pub width: usize,
    /// Added to the variance.
    #[config(default = 1e-5)]
    pub eps: f64,
}

impl LayerNormConfig {
    /// A norm that neither scales nor shifts.
    pub fn init(&self, device: &Device) -> LayerNorm {
        LayerNorm {
            weight: Initializer::Ones.init([self.width], device),
            bias: Initializer::Zeros.init([self.width], device),
            eps: self.eps,
        }
    }
}

/// `(x - mean(x)) / sqrt(var(x) + eps) · weight + bias` (reference: PyTorch `LayerNorm`).
///
/// Burn's own has the same arithmetic; its fields are not named as in checkpoints.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale of each channel, `[width]`.
    pub weight: Param<Tensor<1>>,
    /// Shift of each channel, `[width]`.
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl LayerNorm {
    /// Half precision is normed in f32 and rounded once, as in the reference.
    ///
    /// # Shapes
    ///
    /// - input and output `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (weight, bias) = (widened(self.weight.val()), widened(self.bias.val()));
        if let Some(normed) = ops::layer_norm(&x, [&weight, &bias], self.eps as f32) {
            return normed;
        }
        in_f32(x, |x| module::layer_norm(x, weight, Some(bias), self.eps))
    }
}
