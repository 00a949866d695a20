//! The decoder, in the order in which data meets its parts.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use safevlm_nn::{
    Activation, AttentionMask, CausalAttention, CausalAttentionConfig, CausalLm, Embedding, GatedMlp, GatedMlpConfig,
    KvCache, Matrix, Positions, RmsNorm, RmsNormConfig, Rotary, RotaryConfig,
    precision::{rounded, widened},
    rope::RotaryTable,
};

use crate::config::{GemmaConfig, LayerType};

/// Gemma 3's language model (reference: transformers `Gemma3ForCausalLM`, and the text part of
/// `Gemma3ForConditionalGeneration`).
#[derive(Module, Debug)]
pub struct Gemma {
    /// Token embeddings, `[vocabulary, hidden]`; also the output head.
    pub embed_tokens: Embedding,
    /// The decoder layers.
    pub layers: Vec<DecoderLayer>,
    /// The final norm.
    pub norm: RmsNorm,
    #[module(skip)]
    embed_scale: f32,
    #[module(skip)]
    layer_types: Vec<LayerType>,
    #[module(skip)]
    sliding_window: usize,
    #[module(skip)]
    global_rotary: Rotary,
    #[module(skip)]
    local_rotary: Rotary,
    #[module(skip)]
    final_logit_softcapping: Option<f64>,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    head_dim: usize,
}

/// One decoder layer: what attention and feed-forward block give is normed too, before it is added.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Norm before the attention.
    pub input_layernorm: RmsNorm,
    /// Self-attention, with normed queries and keys.
    pub self_attn: CausalAttention,
    /// Norm after the attention.
    pub post_attention_layernorm: RmsNorm,
    /// Norm before the feed-forward block.
    pub pre_feedforward_layernorm: RmsNorm,
    /// Feed-forward block.
    pub mlp: GatedMlp,
    /// Norm after the feed-forward block.
    pub post_feedforward_layernorm: RmsNorm,
}

/// What the layers of one type share in a forward pass.
struct Sight {
    rotary: RotaryTable,
    mask: AttentionMask,
}

impl GemmaConfig {
    /// A decoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> Gemma {
        let rotary = |theta| RotaryConfig::new(self.head_dim).with_theta(theta);
        Gemma {
            embed_tokens: Embedding::new(self.vocab_size, self.hidden_size, device),
            layers: self.layer_types.iter().map(|_| self.init_layer(device)).collect(),
            norm: self.norm(self.hidden_size).init(device),
            embed_scale: (self.hidden_size as f64).sqrt() as f32,
            layer_types: self.layer_types.clone(),
            sliding_window: self.sliding_window,
            global_rotary: rotary(self.rope_theta).with_factor(self.rope_factor).init(),
            local_rotary: rotary(self.rope_local_base_freq).init(),
            final_logit_softcapping: self.final_logit_softcapping,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
        }
    }

    fn init_layer(&self, device: &Device) -> DecoderLayer {
        let norm = || self.norm(self.hidden_size).init(device);
        DecoderLayer {
            input_layernorm: norm(),
            self_attn: CausalAttentionConfig::new(
                self.hidden_size,
                self.num_attention_heads,
                self.num_key_value_heads,
                self.head_dim,
            )
            .with_qk_norm(Some(self.norm(self.head_dim)))
            .with_scale(Some(self.query_pre_attn_scalar.powf(-0.5)))
            .init(device),
            post_attention_layernorm: norm(),
            pre_feedforward_layernorm: norm(),
            mlp: GatedMlpConfig::new(self.hidden_size, self.intermediate_size)
                .with_activation(Activation::GeluTanh)
                .init(device),
            post_feedforward_layernorm: norm(),
        }
    }

    fn norm(&self, width: usize) -> RmsNormConfig {
        RmsNormConfig::new(width).with_eps(self.rms_norm_eps).with_unit_offset(true)
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
        let x = x + self.post_attention_layernorm.forward(attended);
        let fed = self.mlp.forward(self.pre_feedforward_layernorm.forward(x.clone()));
        x + self.post_feedforward_layernorm.forward(fed)
    }
}

impl Gemma {
    /// The hidden states before the first layer and after each layer, without the final norm; for
    /// tests that name the first stage that differs.
    ///
    /// # Shapes
    ///
    /// - embeddings and each output `[batch, tokens, hidden]`
    pub fn hidden_states(&self, embeddings: Tensor<3>, positions: &Positions, mask: &AttentionMask) -> Vec<Tensor<3>> {
        let mut states = vec![embeddings.clone()];
        self.run_layers(embeddings, positions, mask, None, |state| states.push(state.clone()));
        states
    }

    fn run_layers(
        &self,
        embeddings: Tensor<3>,
        positions: &Positions,
        mask: &AttentionMask,
        mut cache: Option<&mut KvCache>,
        mut after_layer: impl FnMut(&Tensor<3>),
    ) -> Tensor<3> {
        let (device, dtype) = (embeddings.device(), embeddings.dtype());
        let table = |rotary: &Rotary| rotary.table(positions, &device).cast(dtype);
        // The window is laid over what images see of themselves, and cuts it off too (reference:
        // transformers `create_masks_for_vision_model`).
        let mask = mask.images_both_ways();
        let local = Sight { rotary: table(&self.local_rotary), mask: mask.sliding(self.sliding_window) };
        let global = Sight { rotary: table(&self.global_rotary), mask };
        let mut x = embeddings;
        for (nth, (layer, kind)) in self.layers.iter().zip(&self.layer_types).enumerate() {
            let Sight { rotary, mask } = if *kind == LayerType::Sliding { &local } else { &global };
            x = layer.forward(x, rotary, mask, cache.as_deref_mut().map(|cache| (cache, nth)));
            after_layer(&x);
        }
        x
    }
}

impl CausalLm for Gemma {
    /// Rows of the table times the square root of the model's width, which is rounded to the weights' type
    /// as in the reference (for bf16, 33.94 to 34). Visual tokens are no rows of the table and are not scaled.
    fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let rows = self.embed_tokens.forward(ids);
        let scale = rounded(self.embed_scale, rows.dtype());
        rows.mul_scalar(scale)
    }

    fn forward(
        &self,
        embeddings: Tensor<3>,
        positions: &Positions,
        mask: &AttentionMask,
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let x = self.run_layers(embeddings, positions, mask, cache.as_deref_mut(), |_| ());
        if let Some(cache) = cache {
            cache.advance(positions.tokens());
        }
        self.norm.forward(x)
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        // In f32 whatever the weights are, and so the cap as well.
        let logits = widened(self.embed_tokens.logits(hidden));
        match self.final_logit_softcapping {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        }
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
    }
}
