//! The decoder, in the order in which data meets its parts.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use safevlm_nn::{
    AttachLora, AttentionMask, CausalAttention, CausalAttentionConfig, CausalLm, Embedding, GatedMlp, GatedMlpConfig,
    KvCache, Linear, LinearConfig, Positions, RmsNorm, RmsNormConfig, Rotary, RotaryConfig, rope::RotaryTable,
};

use crate::config::LlamaConfig;

/// A Llama-style decoder (reference: transformers `LlamaForCausalLM`).
#[derive(Module, Debug)]
pub struct Llama {
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

impl LlamaConfig {
    /// A decoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> Llama {
        let layers = (0..self.num_hidden_layers).map(|_| self.init_layer(device)).collect();
        let head = || LinearConfig::new(self.hidden_size, self.vocab_size).with_bias(false).init(device);
        Llama {
            embed_tokens: Embedding::new(self.vocab_size, self.hidden_size, device),
            layers,
            norm: RmsNormConfig::new(self.hidden_size).with_eps(self.rms_norm_eps).init(device),
            lm_head: (!self.tie_word_embeddings).then(head),
            rotary: RotaryConfig::new(self.head_dim)
                .with_theta(self.rope_theta)
                .with_scaling(self.rope_scaling.clone())
                .init(),
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
        }
    }

    fn init_layer(&self, device: &Device) -> DecoderLayer {
        let norm = || RmsNormConfig::new(self.hidden_size).with_eps(self.rms_norm_eps).init(device);
        DecoderLayer {
            input_layernorm: norm(),
            self_attn: CausalAttentionConfig::new(
                self.hidden_size,
                self.num_attention_heads,
                self.num_key_value_heads,
                self.head_dim,
            )
            .with_qkv_bias(self.attention_bias)
            .with_out_bias(self.attention_bias)
            .init(device),
            post_attention_layernorm: norm(),
            mlp: GatedMlpConfig::new(self.hidden_size, self.intermediate_size).with_bias(self.mlp_bias).init(device),
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

impl Llama {
    /// The hidden states before the first layer and after each layer, without the final norm; for
    /// tests that name the first stage that differs.
    ///
    /// # Shapes
    ///
    /// - embeddings and each output `[batch, tokens, hidden]`
    pub fn hidden_states(&self, embeddings: Tensor<3>, positions: &Positions, mask: &AttentionMask) -> Vec<Tensor<3>> {
        let rotary = self.rotary.table(positions, &embeddings.device());
        let mut states = vec![embeddings];
        for layer in &self.layers {
            let last = states[states.len() - 1].clone();
            states.push(layer.forward(last, &rotary, mask, None));
        }
        states
    }
}

impl CausalLm for Llama {
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
        let rotary = self.rotary.table(positions, &embeddings.device());
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
        match &self.lm_head {
            Some(head) => head.forward_2d(hidden),
            None => self.embed_tokens.logits(hidden),
        }
    }

    fn new_cache(&self, batch: usize, capacity: usize, device: &Device) -> KvCache {
        KvCache::new(self.layers.len(), batch, self.kv_heads, capacity, self.head_dim, device)
    }
}

impl AttachLora for Llama {
    fn attach_lora(mut self, targets: &[String], rank: usize, alpha: f64) -> Self {
        let adapt = |linear: Linear, name: &str| match targets.iter().any(|t| t == name) {
            true => linear.with_lora(rank, alpha),
            false => linear,
        };
        let layer = |mut layer: DecoderLayer| {
            layer.self_attn.q_proj = adapt(layer.self_attn.q_proj, "q_proj");
            layer.self_attn.k_proj = adapt(layer.self_attn.k_proj, "k_proj");
            layer.self_attn.v_proj = adapt(layer.self_attn.v_proj, "v_proj");
            layer.self_attn.o_proj = adapt(layer.self_attn.o_proj, "o_proj");
            layer.mlp.gate_proj = adapt(layer.mlp.gate_proj, "gate_proj");
            layer.mlp.up_proj = adapt(layer.mlp.up_proj, "up_proj");
            layer.mlp.down_proj = adapt(layer.mlp.down_proj, "down_proj");
            layer
        };
        self.layers = self.layers.into_iter().map(layer).collect();
        self
    }
}
