//! The decoder is the one that `safevlm-nn` has for all families of this kind.

use burn::tensor::Device;
use safevlm_nn::{Decoder, DecoderConfig, RotaryConfig};

use crate::config::LlamaConfig;

/// A Llama-style decoder (reference: transformers `LlamaForCausalLM`).
pub type Llama = Decoder;

impl LlamaConfig {
    /// A decoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> Llama {
        let rotary =
            RotaryConfig::new(self.head_dim).with_theta(self.rope_theta).with_scaling(self.rope_scaling.clone());
        DecoderConfig::new(
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.num_key_value_heads,
            rotary,
        )
        .with_norm_eps(self.rms_norm_eps)
        .with_tied(self.tie_word_embeddings)
        .with_qkv_bias(self.attention_bias)
        .with_out_bias(self.attention_bias)
        .with_mlp_bias(self.mlp_bias)
        .init(device)
    }
}
