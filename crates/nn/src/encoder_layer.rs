//! One layer of a vision transformer.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::activation::Activation;
use crate::layer_norm::{LayerNorm, LayerNormConfig};
use crate::plain_mlp::{PlainMlp, PlainMlpConfig};
use crate::self_attention::{SelfAttention, SelfAttentionConfig};

/// Configuration of an [`EncoderLayer`].
#[derive(Config, Debug)]
pub struct EncoderLayerConfig {
    /// Width of the model.
    pub hidden: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    /// Number of heads, a divisor of `hidden`.
    pub heads: usize,
    /// Inside the feed-forward block.
    pub activation: Activation,
    /// Epsilon of the norms.
    #[config(default = 1e-5)]
    pub eps: f64,
}

impl EncoderLayerConfig {
    /// The layer with default initialisation.
    pub fn init(&self, device: &Device) -> EncoderLayer {
        let norm = || LayerNormConfig::new(self.hidden).with_eps(self.eps).init(device);
        EncoderLayer {
            layer_norm1: norm(),
            self_attn: SelfAttentionConfig::new(self.hidden, self.heads).init(device),
            layer_norm2: norm(),
            mlp: PlainMlpConfig::new(self.hidden, self.intermediate, self.activation).init(device),
        }
    }
}

/// Attention, then feed-forward, each behind its norm and added to its input (reference: transformers
/// `CLIPEncoderLayer`, of which `SiglipEncoderLayer` is a copy).
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Norm before the attention.
    pub layer_norm1: LayerNorm,
    /// Self-attention.
    pub self_attn: SelfAttention,
    /// Norm before the feed-forward block.
    pub layer_norm2: LayerNorm,
    /// Feed-forward block.
    pub mlp: PlainMlp,
}

impl EncoderLayer {
    /// # Shapes
    ///
    /// - input and output `[batch, tokens, hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attended = self.self_attn.forward(self.layer_norm1.forward(x.clone()));
        let x = x + attended;
        let fed = self.mlp.forward(self.layer_norm2.forward(x.clone()));
        x + fed
    }
}
