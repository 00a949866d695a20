//! The decoder that Llama and Qwen2 have in common, in the order in which data meets its parts.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};

use crate::attention::{CausalAttention, CausalAttentionConfig};
use crate::embedding::Embedding;
use crate::kv_cache::KvCache;
use crate::linear::{Linear, LinearConfig};
use crate::mask::AttentionMask;
use crate::mlp::{GatedMlp, GatedMlpConfig};
use crate::norm::{RmsNorm, RmsNormConfig};
use crate::positions::Positions;
use crate::precision::widened;
use crate::rope::{Rotary, RotaryConfig, RotaryTable};
use crate::seams::{CausalLm, Matrix};

/// Configuration of a [`Decoder`].
#[derive(Config, Debug)]
pub struct DecoderConfig {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Width of the model.
    pub hidden: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads.
    pub kv_heads: usize,
    /// Rotary positions; they hold the width of one head.
    pub rotary: RotaryConfig,
    /// Epsilon of the norms.
    #[config(default = 1e-5)]
    pub norm_eps: f64,
    /// Whether the output head is the embedding table.
    #[config(default = false)]
    pub tied: bool,
    /// Whether the query, key and value projections have biases.
    #[config(default = false)]
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    #[config(default = false)]
    pub out_bias: bool,
    /// Whether the feed-forward projections have biases.
    #[config(default = false)]
    pub mlp_bias: bool,
}

/// A pre-norm decoder with grouped-query attention and gated feed-forward blocks (reference:
/// transformers `LlamaForCausalLM`, `Qwen2ForCausalLM`).
#[derive(Module, Debug)]
pub struct Decoder {
    /// Token embeddings, `[vocabulary, hidden]`; also the output head where they are tied.
    pub embed_tokens: Embedding,
    /// The decoder layers.
    pub layers: Vec<DecoderLayer>,
    /// The final norm.
    pub norm: RmsNorm,
    /// The output head, where it is not tied to the embeddings.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    rotary: Rotary,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    head_dim: usize,
}

/// One decoder layer.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Norm before the attention.
    pub input_layernorm: RmsNorm,
    /// Self-attention.
    pub self_attn: CausalAttention,
    /// Norm before the feed-forward block.
    pub post_attention_layernorm: RmsNorm,
    /// Feed-forward block.
    pub mlp: GatedMlp,
}

impl DecoderConfig {
    /// A decoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> Decoder {
        let layers = (0..self.layers).map(|_| self.init_layer(device)).collect();
        let head = || LinearConfig::new(self.hidden, self.vocabulary).with_bias(false).init(device);
        Decoder {
            embed_tokens: Embedding::new(self.vocabulary, self.hidden, device),
            layers,
            norm: RmsNormConfig::new(self.hidden).with_eps(self.norm_eps).init(device),
            lm_head: (!self.tied).then(head),
            rotary: self.rotary.init(),
            kv_heads: self.kv_heads,
            head_dim: self.rotary.head_dim,
        }
    }

    fn init_layer(&self, device: &Device) -> DecoderLayer {
        let norm = || RmsNormConfig::new(self.hidden).with_eps(self.norm_eps).init(device);
        DecoderLayer {
            input_layernorm: norm(),
            self_attn: CausalAttentionConfig::new(self.hidden, self.heads, self.kv_heads, self.rotary.head_dim)
                .with_qkv_bias(self.qkv_bias)
                .with_out_bias(self.out_bias)
                .init(device),
            post_attention_layernorm: norm(),
            mlp: GatedMlpConfig::new(self.hidden, self.intermediate).with_bias(self.mlp_bias).init(device),
        }
    }
}

impl DecoderLayer {
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
        let attended = self.self_attn.forward(self.input_layernorm.forward(x.clone()), rotary, mask, cache);
        let x = x + attended;
        let fed = self.mlp.forward(self.post_attention_layernorm.forward(x.clone()));
        x + fed
    }
}

impl Decoder {
    /// The hidden states before the first layer and after each layer, without the final norm; for
    /// tests that name the first stage that differs.
    ///
    /// # Shapes
    ///
    /// - embeddings and each output `[batch, tokens, hidden]`
    pub fn hidden_states(&self, embeddings: Tensor<3>, positions: &Positions, mask: &AttentionMask) -> Vec<Tensor<3>> {
        let rotary = self.rotary.table(positions, &embeddings.device()).cast(embeddings.dtype());
        let mut states = vec![embeddings];
        for layer in &self.layers {
            let last = states[states.len() - 1].clone();
            states.push(layer.forward(last, &rotary, mask, None));
        }
        states
    }
}

impl CausalLm for Decoder {
    fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.embed_tokens.forward(ids)
    }

    fn forward(
        &self,
        embeddings: Tensor<3>,
        positions: &Positions,
        mask: &AttentionMask,
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let rotary = self.rotary.table(positions, &embeddings.device()).cast(embeddings.dtype());
        let mut x = embeddings;
        for (nth, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &rotary, mask, cache.as_deref_mut().map(|cache| (cache, nth)));
        }
        if let Some(cache) = cache {
            cache.advance(positions.tokens());
        }
        self.norm.forward(x)
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        // In f32 whatever the weights are: what is done with logits (penalties, softmax, a loss) is delicate.
        widened(match &self.lm_head {
            Some(head) => head.forward_2d(hidden),
            None => self.embed_tokens.logits(hidden),
        })
    }

    fn new_cache(&self, batch: usize, capacity: usize, device: &Device) -> KvCache {
        KvCache::new(self.layers.len(), batch, self.kv_heads, capacity, self.head_dim, device)
    }

    fn matrices(&mut self, visit: &mut dyn FnMut(&str, Matrix<'_>)) {
        visit("embed_tokens", Matrix::Embedding(&mut self.embed_tokens));
        for layer in &mut self.layers {
            layer.self_attn.matrices(visit);
            layer.mlp.matrices(visit);
        }
        if let Some(head) = &mut self.lm_head {
            visit("lm_head", Matrix::Linear(head));
        }
    }
}
