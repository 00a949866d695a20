//! Root-mean-square normalisation.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

/// Configuration of a [`RmsNorm`].
#[derive(Config, Debug)]
pub struct RmsNormConfig {
    /// Width of the normalised axis.
    pub width: usize,
    /// Added to the mean square.
    #[config(default = 1e-5)]
    pub eps: f64,
}

impl RmsNormConfig {
    /// A norm with unit weights.
    pub fn init(&self, device: &Device) -> RmsNorm {
        RmsNorm { weight: Initializer::Ones.init([self.width], device), eps: self.eps }
    }
}

/// `x / sqrt(mean(x²) + eps) · weight` (reference: transformers `LlamaRMSNorm`).
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Scale of each channel, `[width]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl RmsNorm {
    /// # Shapes
    ///
    /// - input and output `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let rms = x.clone().square().mean_dim(D - 1).add_scalar(self.eps).sqrt();
        x / rms * self.weight.val().unsqueeze()
    }
}
