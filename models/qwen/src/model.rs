//! The decoder is the one that `safevlm-nn` has for all families of this kind.

use burn::tensor::Device;
use safevlm_nn::{Decoder, DecoderConfig, RotaryConfig};

use crate::config::QwenConfig;

/// A Qwen2 decoder (reference: transformers `Qwen2_5_VLTextModel`, `Qwen2ForCausalLM`): queries, keys and
/// values have biases, the attention's output has none.
pub type Qwen = Decoder;

impl QwenConfig {
    /// A decoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> Qwen {
        let rotary =
            RotaryConfig::new(self.head_dim()).with_theta(self.rope_theta).with_sections(self.mrope_section.clone());
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
        .with_qkv_bias(true)
        .init(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;
    use burn::module::Module;

    #[test]
    fn parameters_are_those_of_the_published_checkpoints() {
        // The first is Qwen2.5-0.5B's total. The others, with the vision encoders' 668,684,288, 676,550,144 and
        // 688,841,984 parameters, are the totals of Qwen2.5-VL: 3,754,622,976, 8,292,166,656, 33,452,718,336.
        let counts = PRESETS.map(|preset| preset.config().init(&Device::flex()).num_params());
        assert_eq!(counts, [494_032_768, 3_085_938_688, 7_615_616_512, 32_763_876_352]);
    }
}
