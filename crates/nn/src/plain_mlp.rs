//! The feed-forward block of vision transformers.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::activation::Activation;
use crate::linear::{Linear, LinearConfig};

/// Configuration of a [`PlainMlp`].
#[derive(Config, Debug)]
pub struct PlainMlpConfig {
    /// Width of the model.
    pub hidden: usize,
    /// Width inside the block.
    pub intermediate: usize,
    /// Between the two layers.
    pub activation: Activation,
}

impl PlainMlpConfig {
    /// The block with default initialisation.
    pub fn init(&self, device: &Device) -> PlainMlp {
        PlainMlp {
            fc1: LinearConfig::new(self.hidden, self.intermediate).init(device),
            fc2: LinearConfig::new(self.intermediate, self.hidden).init(device),
            activation: self.activation,
        }
    }
}

/// `fc2(activation(fc1(x)))` (reference: transformers `CLIPMLP`).
#[derive(Module, Debug)]
pub struct PlainMlp {
    /// `[intermediate, hidden]`.
    pub fc1: Linear,
    /// `[hidden, intermediate]`.
    pub fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl PlainMlp {
    /// # Shapes
    ///
    /// - input and output `[batch, tokens, hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(self.activation.forward(self.fc1.forward(x)))
    }
}
