//! Grouped-query self-attention with rotary positions and a key-value cache.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};
use safevlm_core::host;
use safevlm_kernels::attention::{Attention, Heads};

use crate::kv_cache::KvCache;
use crate::linear::{Linear, LinearConfig};
use crate::mask::AttentionMask;
use crate::norm::{RmsNorm, RmsNormConfig};
use crate::ops;
use crate::rope::RotaryTable;
use crate::seams::Matrix;

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
    /// Norm of each query and key head before it is rotated, `head_dim` wide.
    pub qk_norm: Option<RmsNormConfig>,
    /// Factor of the attention scores; `1 / sqrt(head_dim)` if not given.
    pub scale: Option<f64>,
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
            q_norm: self.qk_norm.as_ref().map(|norm| norm.init(device)),
            k_norm: self.qk_norm.as_ref().map(|norm| norm.init(device)),
            scale: self.scale,
            heads: self.heads,
            kv_heads: self.kv_heads,
        }
    }
}

/// Self-attention in which `heads / kv_heads` query heads share one key head (reference:
/// transformers `LlamaAttention`, `Gemma3Attention`).
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
    /// Norm of each query head, `[head_dim]`.
    pub q_norm: Option<RmsNorm>,
    /// Norm of each key head, `[head_dim]`.
    pub k_norm: Option<RmsNorm>,
    #[module(skip)]
    scale: Option<f64>,
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
        let heads = |x: Tensor<3>, heads: usize, norm: &Option<RmsNorm>| {
            let [_, _, width] = x.dims();
            let x = x.reshape([batch, tokens, heads, width / heads]);
            norm.as_ref().map_or(x.clone(), |norm| norm.forward(x))
        };
        let [query, key, value] = Linear::forward_together([&self.q_proj, &self.k_proj, &self.v_proj], x);
        let query = heads(query, self.heads, &self.q_norm);
        let key = heads(key, self.kv_heads, &self.k_norm);
        let value = heads(value, self.kv_heads, &None);
        let qkv = [query, key, value];
        let mixed = match rotary.fits(batch, tokens) {
            true if qkv.iter().all(host::is_plain) => self.mix_on_host(qkv, rotary, mask, cache),
            true if cache.is_none() => ops::learning_attention(qkv, Some(rotary), Some(mask), self.scale)
                .map_or_else(|qkv| self.mix(qkv, rotary, mask, None), |mixed| mixed.flatten(2, 3)),
            _ => self.mix(qkv, rotary, mask, cache),
        };
        self.o_proj.forward(mixed)
    }

    /// Attention by Burn. Queries, keys and values are `[batch, tokens, heads, head_dim]`, the output is
    /// `[batch, tokens, heads · head_dim]`.
    fn mix(
        &self,
        qkv: [Tensor<4>; 3],
        rotary: &RotaryTable,
        mask: &AttentionMask,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3> {
        let [query, key, value] = qkv.map(|x| x.swap_dims(1, 2));
        let [batch, _, tokens, head_dim] = query.dims();
        let (query, key) = (rotary.rotate(query), rotary.rotate(key));
        let (key, value) = match cache {
            Some((cache, layer)) => cache.append(layer, key, value),
            None => (key, value),
        };

        // The heads of a group lie below one another as further query rows, so that keys and values
        // are never repeated.
        let groups = self.heads / self.kv_heads;
        let query = query.reshape([batch, self.kv_heads, groups * tokens, head_dim]);
        let options = AttentionModuleOptions { scale: self.scale, ..Default::default() };
        let mixed = attention(query, key, value, mask.grouped(groups), None, options);
        let mixed = mixed.reshape([batch, self.heads, tokens, head_dim]);
        mixed.swap_dims(1, 2).reshape([batch, tokens, self.heads * head_dim])
    }

    /// [`mix`](Self::mix) by this project's kernels, which read keys and values where the cache has them.
    fn mix_on_host(
        &self,
        qkv: [Tensor<4>; 3],
        rotary: &RotaryTable,
        mask: &AttentionMask,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3> {
        let [batch, tokens, heads, head_dim] = qkv[0].dims();
        let device = qkv[0].device();
        let [mut query, mut key, value] = qkv.map(ops::values);
        rotary.rotate_tokens(&mut query, heads);
        rotary.rotate_tokens(&mut key, self.kv_heads);
        let (order, hidden) = mask.on_host();
        let shape = |keys| Attention {
            batch,
            queries: tokens,
            keys,
            heads,
            kv_heads: self.kv_heads,
            head_dim,
            scale: self.scale.unwrap_or(1.0 / (head_dim as f64).sqrt()) as f32,
            order,
            hidden,
        };
        let query = Heads::by_token(&query, tokens, heads, head_dim);
        let mixed = match cache {
            Some((cache, layer)) => {
                let (keys, capacity) = (cache.len() + tokens, cache.capacity());
                let (key, value) = cache.append_on_host(layer, &key, &value);
                let of_cache = |values| Heads::by_head(values, self.kv_heads, capacity, head_dim);
                ops::attention(&shape(keys), query, of_cache(key), of_cache(value))
            }
            None => {
                let of_rows = |values| Heads::by_token(values, tokens, self.kv_heads, head_dim);
                ops::attention(&shape(tokens), query, of_rows(&key), of_rows(&value))
            }
        };
        host::tensor(mixed, [batch, tokens, heads * head_dim], &device)
    }

    /// As [`CausalLm::matrices`](crate::CausalLm::matrices).
    pub fn matrices(&mut self, visit: &mut dyn FnMut(&str, Matrix<'_>)) {
        visit("q_proj", Matrix::Linear(&mut self.q_proj));
        visit("k_proj", Matrix::Linear(&mut self.k_proj));
        visit("v_proj", Matrix::Linear(&mut self.v_proj));
        visit("o_proj", Matrix::Linear(&mut self.o_proj));
    }
}
