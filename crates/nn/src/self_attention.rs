//! Self-attention in which every token sees every other.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::linear::{Linear, LinearConfig};
use crate::ops;

/// Configuration of [`SelfAttention`].
#[derive(Config, Debug)]
pub struct SelfAttentionConfig {
    /// Width of the model.
    pub hidden: usize,
    /// Number of heads, a divisor of `hidden`.
    pub heads: usize,
}

impl SelfAttentionConfig {
    /// The block with default initialisation.
    pub fn init(&self, device: &Device) -> SelfAttention {
        let linear = || LinearConfig::new(self.hidden, self.hidden).init(device);
        SelfAttention { q_proj: linear(), k_proj: linear(), v_proj: linear(), out_proj: linear(), heads: self.heads }
    }
}

/// Multi-head self-attention without mask and positions, as vision transformers have it (reference:
/// transformers `CLIPAttention`).
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `[hidden, hidden]`.
    pub q_proj: Linear,
    /// `[hidden, hidden]`.
    pub k_proj: Linear,
    /// `[hidden, hidden]`.
    pub v_proj: Linear,
    /// `[hidden, hidden]`.
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl SelfAttention {
    /// # Shapes
    ///
    /// - input and output `[batch, tokens, hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let dims = x.dims();
        let [batch, tokens, hidden] = dims;
        let qkv = [self.q_proj.forward(x.clone()), self.k_proj.forward(x.clone()), self.v_proj.forward(x)];
        let mixed = ops::self_attention(qkv.map(|x| x.reshape([batch, tokens, self.heads, hidden / self.heads])));
        self.out_proj.forward(mixed.reshape(dims))
    }
}
