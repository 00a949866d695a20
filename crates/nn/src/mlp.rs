//! The gated feed-forward block of Llama-style decoders.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::activation::Activation;
use crate::linear::{Linear, LinearConfig};
use crate::seams::Matrix;

/// Configuration of a [`GatedMlp`].
#[derive(Config, Debug)]
pub struct GatedMlpConfig {
    /// Width of the model.
    pub hidden: usize,
    /// Width inside the block.
    pub intermediate: usize,
    /// Whether the three projections have a bias.
    #[config(default = false)]
    pub bias: bool,
    /// The function that the gate goes through.
    #[config(default = "Activation::Silu")]
    pub activation: Activation,
}

impl GatedMlpConfig {
    /// The block with default initialisation.
    pub fn init(&self, device: &Device) -> GatedMlp {
        let linear = |i, o| LinearConfig::new(i, o).with_bias(self.bias).init(device);
        GatedMlp {
            gate_proj: linear(self.hidden, self.intermediate),
            up_proj: linear(self.hidden, self.intermediate),
            down_proj: linear(self.intermediate, self.hidden),
            activation: self.activation,
        }
    }
}

/// `down(f(gate(x)) · up(x))` (reference: transformers `LlamaMLP`, `Gemma3MLP`).
#[derive(Module, Debug)]
pub struct GatedMlp {
    /// `[intermediate, hidden]`.
    pub gate_proj: Linear,
    /// `[intermediate, hidden]`.
    pub up_proj: Linear,
    /// `[hidden, intermediate]`.
    pub down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GatedMlp {
    /// # Shapes
    ///
    /// - input and output `[batch, tokens, hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [gate, up] = Linear::forward_together([&self.gate_proj, &self.up_proj], x);
        self.down_proj.forward(self.activation.gated(gate, up))
    }

    /// As [`CausalLm::matrices`](crate::CausalLm::matrices).
    pub fn matrices(&mut self, visit: &mut dyn FnMut(&str, Matrix<'_>)) {
        visit("gate_proj", Matrix::Linear(&mut self.gate_proj));
        visit("up_proj", Matrix::Linear(&mut self.up_proj));
        visit("down_proj", Matrix::Linear(&mut self.down_proj));
    }
}
