//! Grouped-query self-attention with rotary positions and a key-value cache.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use crate::kv_cache::KvCache;
use crate::linear::{Linear, LinearConfig};
use crate::mask::AttentionMask;
use crate::rope::RotaryTable;

/// Configuration of [`CausalAttention`].
#[derive(Config, Debug)]
pub struct CausalAttentionConfig {
    /// Width of the model.
    pub hidden: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Whether the query, key and value projections have a bias.
    #[config(default = false)]
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    #[config(default = false)]
    pub out_bias: bool,
}

impl CausalAttentionConfig {
    /// The block with default initialisation.
    pub fn init(&self, device: &Device) -> CausalAttention {
        let linear = |i, o, bias| LinearConfig::new(i, o).with_bias(bias).init(device);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        CausalAttention {
            q_proj: linear(self.hidden, q, self.qkv_bias),
            k_proj: linear(self.hidden, kv, self.qkv_bias),
            v_proj: linear(self.hidden, kv, self.qkv_bias),
            o_proj: linear(q, self.hidden, self.out_bias),
            heads: self.heads,
            kv_heads: self.kv_heads,
        }
    }
}

/// Self-attention in which `heads / kv_heads` query heads share one key head (reference:
/// transformers `LlamaAttention`).
#[derive(Module, Debug)]
pub struct CausalAttention {
    /// `[heads · head_dim, hidden]`.
    pub q_proj: Linear,
    /// `[kv_heads · head_dim, hidden]`.
    pub k_proj: Linear,
    /// `[kv_heads · head_dim, hidden]`.
    pub v_proj: Linear,
    /// `[hidden, heads · head_dim]`.
    pub o_proj: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
}

impl CausalAttention {
    /// # Shapes
    ///
    /// - input and output `[batch, tokens, hidden]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        rotary: &RotaryTable,
        mask: &AttentionMask,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let query = rotary.rotate(split_heads(self.q_proj.forward(x.clone()), self.heads));
        let key = rotary.rotate(split_heads(self.k_proj.forward(x.clone()), self.kv_heads));
        let value = split_heads(self.v_proj.forward(x), self.kv_heads);
        let [_, _, _, head_dim] = query.dims();
        let (key, value) = match cache {
            Some((cache, layer)) => cache.append(layer, key, value),
            None => (key, value),
        };

        // The heads of a group lie below one another as further query rows, so that keys and values
        // are never repeated.
        let groups = self.heads / self.kv_heads;
        let query = query.reshape([batch, self.kv_heads, groups * tokens, head_dim]);
        let options = AttentionModuleOptions::default();
        let mixed = attention(query, key, value, mask.grouped(groups), None, options);
        let mixed = mixed.reshape([batch, self.heads, tokens, head_dim]);
        let mixed = mixed.swap_dims(1, 2).reshape([batch, tokens, self.heads * head_dim]);
        self.o_proj.forward(mixed)
    }
}

/// `[batch, tokens, heads · head_dim]` to `[batch, heads, tokens, head_dim]`.
pub(crate) fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, tokens, width] = x.dims();
    x.reshape([batch, tokens, heads, width / heads]).swap_dims(1, 2)
}
