//! Size and options of a Llama-style decoder.

use burn::config::Config;
use safevlm_nn::{HfConfig, HfConfigError, RopeScaling};
use serde_json::{Value, json};

/// Configuration of a decoder; the names are those of Hugging Face's `config.json`.
#[derive(Config, Debug)]
pub struct LlamaConfig {
    /// Number of token ids.
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
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Epsilon of the norms.
    #[config(default = 1e-5)]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[config(default = 10000.0)]
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies, as Llama 3 does it.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output head is the embedding table.
    #[config(default = false)]
    pub tie_word_embeddings: bool,
    /// Whether the attention projections have biases.
    #[config(default = false)]
    pub attention_bias: bool,
    /// Whether the feed-forward projections have biases.
    #[config(default = false)]
    pub mlp_bias: bool,
}

/// A `config.json` that does not describe a decoder this crate can build.
pub type LlamaConfigError = HfConfigError;

impl LlamaConfig {
    /// Reads a Hugging Face configuration, with rotary settings in the old or the new layout.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type or an impossible value, or asks for something that
    /// would silently change the numbers.
    pub fn from_hf(config: &Value) -> Result<Self, LlamaConfigError> {
        let config = HfConfig::new(config);
        let hidden = config.size("hidden_size", None)?;
        let heads = config.size("num_attention_heads", None)?;
        let kv_heads = config.size("num_key_value_heads", Some(heads))?;
        let head_dim = config.size("head_dim", Some(hidden / heads))?;
        if heads % kv_heads != 0 {
            return Err(config.wrong("num_key_value_heads", "a divisor of `num_attention_heads`"));
        }
        if head_dim % 2 != 0 {
            return Err(config.wrong("head_dim", "an even number"));
        }
        config.must_be("hidden_act", &json!("silu"))?;
        let rope = config.section("rope_parameters");
        let scaling = rope.or_else(|| config.section("rope_scaling"));
        let theta = rope.filter(|r| r.get("rope_theta").is_some()).unwrap_or(config);
        Ok(Self::new(
            config.size("vocab_size", None)?,
            hidden,
            config.size("intermediate_size", None)?,
            config.size("num_hidden_layers", None)?,
            heads,
            kv_heads,
            head_dim,
            config.size("max_position_embeddings", Some(2048))?,
        )
        .with_rms_norm_eps(config.number("rms_norm_eps", 1e-6)?)
        .with_rope_theta(theta.number("rope_theta", 10000.0)?)
        .with_rope_scaling(scaling.map(rope_scaling).transpose()?.flatten())
        .with_tie_word_embeddings(config.flag("tie_word_embeddings", false)?)
        .with_attention_bias(config.flag("attention_bias", false)?)
        .with_mlp_bias(config.flag("mlp_bias", false)?))
    }
}

fn rope_scaling(scaling: HfConfig<'_>) -> Result<Option<RopeScaling>, LlamaConfigError> {
    let key = if scaling.get("rope_type").is_some() { "rope_type" } else { "type" };
    match scaling.text(key).unwrap_or("default") {
        "default" => Ok(None),
        "llama3" => serde_json::from_value(scaling.value().clone())
            .map(Some)
            .map_err(|_| scaling.wrong("factor", "the four numbers of Llama 3's rotary scaling")),
        _ => Err(scaling.wrong(key, "\"default\" or \"llama3\"")),
    }
}
