//! The published sizes.

use crate::config::{GemmaConfig, GemmaConfigError, LayerType};

/// One published size, with what it does not share with the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// `270m` .. `27b`.
    pub name: &'static str,
    /// Number of token ids; the sizes that read images have 64 more, one of them the image token.
    pub vocab_size: usize,
    /// Width of the model.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Scores are divided by its square root.
    pub query_pre_attn_scalar: f64,
    /// Tokens that a sliding layer sees.
    pub sliding_window: usize,
    /// Divides the rotary frequencies of the global layers.
    pub rope_factor: f64,
    /// Longest sequence.
    pub max_position_embeddings: usize,
}

/// The published sizes, as the `config.json` of `google/gemma-3-*` have them.
pub const PRESETS: [Preset; 5] = [
    text("270m", 640, 2048, 18),
    text("1b", 1152, 6912, 26),
    multimodal("4b", 2560, 10240, 34, [8, 4, 256], 256.0),
    multimodal("12b", 3840, 15360, 48, [16, 8, 256], 256.0),
    // Scores are scaled for a width of 5376 / 32 = 168, though a head is 128 wide.
    multimodal("27b", 5376, 21504, 62, [32, 16, 128], 168.0),
];

/// A size that reads text only.
const fn text(name: &'static str, hidden: usize, intermediate: usize, layers: usize) -> Preset {
    Preset {
        name,
        vocab_size: 262_144,
        hidden_size: hidden,
        intermediate_size: intermediate,
        num_hidden_layers: layers,
        num_attention_heads: 4,
        num_key_value_heads: 1,
        head_dim: 256,
        query_pre_attn_scalar: 256.0,
        sliding_window: 512,
        rope_factor: 1.0,
        max_position_embeddings: 32_768,
    }
}

/// The language model of a size that reads images; `heads` are query heads, key heads, head width.
const fn multimodal(
    name: &'static str,
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: [usize; 3],
    query_pre_attn_scalar: f64,
) -> Preset {
    Preset {
        name,
        vocab_size: 262_208,
        hidden_size: hidden,
        intermediate_size: intermediate,
        num_hidden_layers: layers,
        num_attention_heads: heads[0],
        num_key_value_heads: heads[1],
        head_dim: heads[2],
        query_pre_attn_scalar,
        sliding_window: 1024,
        rope_factor: 8.0,
        max_position_embeddings: 131_072,
    }
}

impl Preset {
    /// The preset in full.
    pub fn config(&self) -> GemmaConfig {
        GemmaConfig::new(
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            LayerType::pattern(self.num_hidden_layers, 6),
            self.num_attention_heads,
            self.num_key_value_heads,
            self.head_dim,
            self.query_pre_attn_scalar,
            self.sliding_window,
            self.max_position_embeddings,
        )
        .with_rope_factor(self.rope_factor)
    }
}

impl GemmaConfig {
    /// The published size `name`: `270m`, `1b`, `4b`, `12b` or `27b`.
    ///
    /// # Errors
    ///
    /// If there is no such size.
    pub fn preset(name: &str) -> Result<Self, GemmaConfigError> {
        let found = PRESETS.iter().find(|preset| preset.name == name);
        found.map(Preset::config).ok_or_else(|| GemmaConfigError::UnknownName { name: name.to_owned() })
    }
}
