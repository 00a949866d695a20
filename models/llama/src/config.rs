//! Size and options of a Llama-style decoder.

use burn::config::Config;
use safevlm_nn::RopeScaling;
use serde_json::Value;
use thiserror::Error;

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
#[derive(Debug, Error)]
#[error("config.json: `{key}` is {found}, expected {expected}: take the file from the checkpoint's own folder")]
pub struct LlamaConfigError {
    key: String,
    found: String,
    expected: String,
}

impl LlamaConfig {
    /// Reads a Hugging Face configuration, with rotary settings in the old or the new layout.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type or an impossible value, or asks for something that
    /// would silently change the numbers.
    pub fn from_hf(config: &Value) -> Result<Self, LlamaConfigError> {
        let hidden = size(config, "hidden_size", None)?;
        let heads = size(config, "num_attention_heads", None)?;
        let kv_heads = size(config, "num_key_value_heads", Some(heads))?;
        let head_dim = size(config, "head_dim", Some(hidden / heads))?;
        if heads % kv_heads != 0 {
            return Err(wrong(config, "num_key_value_heads", "a divisor of `num_attention_heads`"));
        }
        if head_dim % 2 != 0 {
            return Err(wrong(config, "head_dim", "an even number"));
        }
        if config.get("hidden_act").is_some_and(|act| act != "silu") {
            return Err(wrong(config, "hidden_act", "\"silu\""));
        }
        let rope = config.get("rope_parameters").filter(|v| !v.is_null());
        let scaling = rope.or_else(|| config.get("rope_scaling").filter(|v| !v.is_null()));
        let theta = rope.and_then(|r| r.get("rope_theta")).or_else(|| config.get("rope_theta"));
        let flag = |key: &str| match config.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| wrong(config, key, "true or false")),
        };
        Ok(Self::new(
            size(config, "vocab_size", None)?,
            hidden,
            size(config, "intermediate_size", None)?,
            size(config, "num_hidden_layers", None)?,
            heads,
            kv_heads,
            head_dim,
            size(config, "max_position_embeddings", Some(2048))?,
        )
        .with_rms_norm_eps(number(config.get("rms_norm_eps"), "rms_norm_eps", 1e-6)?)
        .with_rope_theta(number(theta, "rope_theta", 10000.0)?)
        .with_rope_scaling(scaling.map(rope_scaling).transpose()?.flatten())
        .with_tie_word_embeddings(flag("tie_word_embeddings")?)
        .with_attention_bias(flag("attention_bias")?)
        .with_mlp_bias(flag("mlp_bias")?))
    }
}

fn rope_scaling(value: &Value) -> Result<Option<RopeScaling>, LlamaConfigError> {
    let kind = value.get("rope_type").or_else(|| value.get("type")).and_then(Value::as_str).unwrap_or("default");
    match kind {
        "default" => Ok(None),
        "llama3" => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|_| wrong(value, "factor", "the four numbers of Llama 3's rotary scaling")),
        other => Err(LlamaConfigError {
            key: "rope_type".to_owned(),
            found: other.to_owned(),
            expected: "\"default\" or \"llama3\"".to_owned(),
        }),
    }
}

/// A positive whole number below 2^24, so that no product of sizes can overflow.
fn size(config: &Value, key: &str, default: Option<usize>) -> Result<usize, LlamaConfigError> {
    match config.get(key).filter(|v| !v.is_null()) {
        None => default.filter(|d| *d > 0).ok_or_else(|| wrong(config, key, "a whole number")),
        Some(value) => value
            .as_u64()
            .filter(|v| (1..1 << 24).contains(v))
            .map(|v| v as usize)
            .ok_or_else(|| wrong(config, key, "a whole number from 1 to 16777215")),
    }
}

fn number(value: Option<&Value>, key: &str, default: f64) -> Result<f64, LlamaConfigError> {
    let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(default) };
    value.as_f64().filter(|v| v.is_finite() && *v > 0.0).ok_or_else(|| LlamaConfigError {
        key: key.to_owned(),
        found: value.to_string(),
        expected: "a number above 0".to_owned(),
    })
}

fn wrong(config: &Value, key: &str, expected: &str) -> LlamaConfigError {
    let found = config.get(key).map_or_else(|| "missing".to_owned(), Value::to_string);
    LlamaConfigError { key: key.to_owned(), found, expected: expected.to_owned() }
}
