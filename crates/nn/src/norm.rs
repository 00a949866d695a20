//! Root-mean-square normalisation.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use crate::ops;
use crate::precision::widened;

/// Configuration of a [`RmsNorm`].
#[derive(Config, Debug)]
pub struct RmsNormConfig {
    /// Width of the normalised axis.
    pub width: usize,
    /// Added to the mean square.
    #[config(default = 1e-5)]
    pub eps: f64,
    /// Whether the checkpoint stores each weight less 1, as Gemma's do.
    #[config(default = false)]
    pub unit_offset: bool,
}

impl RmsNormConfig {
    /// A norm that scales by 1.
    pub fn init(&self, device: &Device) -> RmsNorm {
        let one = if self.unit_offset { Initializer::Zeros } else { Initializer::Ones };
        RmsNorm { weight: one.init([self.width], device), eps: self.eps, unit_offset: self.unit_offset }
    }
}

/// `x / sqrt(mean(x²) + eps) · weight`, or `.. · (1 + weight)` (reference: transformers `LlamaRMSNorm`,
/// `Gemma3RMSNorm`).
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Scale of each channel, `[width]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
    #[module(skip)]
    unit_offset: bool,
}

impl RmsNorm {
    /// Half precision is normed in f32. Llama's weights scale the rounded result, Gemma's the result before
    /// it is rounded, as in the references.
    ///
    /// # Shapes
    ///
    /// - input and output `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if let Some(normed) = ops::rms_norm(&x, &self.weight.val(), self.eps as f32, self.unit_offset) {
            return normed;
        }
        let dtype = x.dtype();
        let x = widened(x);
        let rms = x.clone().square().mean_dim(D - 1).add_scalar(self.eps).sqrt();
        let (normed, weight) = (x / rms, self.weight.val());
        match self.unit_offset {
            true => (normed * widened(weight).add_scalar(1.0).unsqueeze()).cast(dtype),
            false => normed.cast(dtype) * weight.unsqueeze(),
        }
    }
}
