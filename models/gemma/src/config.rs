//! Size and options of Gemma 3's language model.

use burn::config::Config;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// What a layer sees of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerType {
    /// The last [`sliding_window`](GemmaConfig::sliding_window) tokens.
    #[serde(rename = "sliding_attention")]
    Sliding,
    /// Everything.
    #[serde(rename = "full_attention")]
    Global,
}

/// Configuration of a [`Gemma`](crate::Gemma); the names are those of Hugging Face's `config.json`.
#[derive(Config, Debug, PartialEq)]
pub struct GemmaConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the model.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// What each layer sees, as many as there are layers.
    pub layer_types: Vec<LayerType>,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Attention scores are divided by its square root.
    pub query_pre_attn_scalar: f64,
    /// Number of tokens that a sliding layer sees, the query's own among them.
    pub sliding_window: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Epsilon of the norms.
    #[config(default = 1e-6)]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies in global layers.
    #[config(default = 1_000_000.0)]
    pub rope_theta: f64,
    /// Divides the rotary frequencies of global layers.
    #[config(default = 1.0)]
    pub rope_factor: f64,
    /// Base of the rotary frequencies in sliding layers.
    #[config(default = 10_000.0)]
    pub rope_local_base_freq: f64,
    /// Logits are kept between minus and plus this.
    pub final_logit_softcapping: Option<f64>,
}

/// A configuration that cannot be built.
#[derive(Debug, Error)]
pub enum GemmaConfigError {
    /// No such preset.
    #[error("there is no Gemma 3 `{name}`; choose 270m, 1b, 4b, 12b or 27b")]
    UnknownName {
        /// The name that was asked for.
        name: String,
    },
    /// A key is missing, or has a value that this crate does not compute.
    #[error("config.json: `{key}` is {found}, expected {expected}: take the file from the checkpoint's own folder")]
    Key {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
}

impl LayerType {
    /// `layers` layers of which every `period`th is global.
    pub fn pattern(layers: usize, period: usize) -> Vec<Self> {
        (1..=layers).map(|nth| if nth % period == 0 { Self::Global } else { Self::Sliding }).collect()
    }
}

impl GemmaConfig {
    /// Reads a Hugging Face configuration: that of a text model, or of a model with vision, whose
    /// `text_config` is read. Rotary settings may be in the old layout (`rope_theta`,
    /// `rope_local_base_freq`, `rope_scaling`) or the new (`rope_parameters` for each kind of layer).
    /// A key that published files leave out has the reference's default (transformers
    /// `Gemma3TextConfig`).
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type or an impossible value, or asks for something that
    /// would silently change the numbers.
    pub fn from_hf(config: &Value) -> Result<Self, GemmaConfigError> {
        let nested = present(config, "text_config");
        let text = nested.unwrap_or(config);
        refuse_other_models(config, text, nested.is_some())?;
        let heads = size(text, "num_attention_heads", Some(8))?;
        let kv_heads = size(text, "num_key_value_heads", Some(4))?;
        if heads % kv_heads != 0 {
            return Err(wrong(text, "num_key_value_heads", "a divisor of `num_attention_heads`"));
        }
        let head_dim = size(text, "head_dim", Some(256))?;
        if head_dim % 2 != 0 {
            return Err(wrong(text, "head_dim", "an even number"));
        }
        let (rope_theta, rope_factor) = rope(text, LayerType::Global)?;
        let (rope_local_base_freq, _) = rope(text, LayerType::Sliding)?;
        let cap = present(text, "final_logit_softcapping");
        Ok(Self::new(
            size(text, "vocab_size", Some(262_208))?,
            size(text, "hidden_size", None)?,
            size(text, "intermediate_size", None)?,
            layer_types(text)?,
            heads,
            kv_heads,
            head_dim,
            number(text, "query_pre_attn_scalar", 256.0)?,
            size(text, "sliding_window", Some(4096))?,
            size(text, "max_position_embeddings", Some(131_072))?,
        )
        .with_rms_norm_eps(number(text, "rms_norm_eps", 1e-6)?)
        .with_rope_theta(rope_theta)
        .with_rope_factor(rope_factor)
        .with_rope_local_base_freq(rope_local_base_freq)
        .with_final_logit_softcapping(cap.map(|_| number(text, "final_logit_softcapping", 1.0)).transpose()?))
    }
}

/// Settings that Gemma 3 does not have, and that this crate would otherwise pass over.
fn refuse_other_models(config: &Value, text: &Value, nested: bool) -> Result<(), GemmaConfigError> {
    let refuse = |config: &Value, key: &str, allowed: &Value, expected: &str| match present(config, key) {
        Some(value) if value != allowed => Err(wrong(config, key, expected)),
        _ => Ok(()),
    };
    refuse(text, "model_type", &"gemma3_text".into(), "\"gemma3_text\"")?;
    refuse(text, "hidden_activation", &"gelu_pytorch_tanh".into(), "\"gelu_pytorch_tanh\"")?;
    refuse(text, "attention_bias", &false.into(), "false, as all Gemma 3 have it")?;
    refuse(text, "use_bidirectional_attention", &false.into(), "false: this is a decoder")?;
    refuse(text, "attn_logit_softcapping", &Value::Null, "null: the reference has the key but does not apply it")?;
    for config in [config, text] {
        refuse(config, "tie_word_embeddings", &true.into(), "true, as all Gemma 3 have it")?;
    }
    if nested {
        let expected = "null: the reference applies it in text-only models alone";
        refuse(text, "final_logit_softcapping", &Value::Null, expected)?;
    }
    Ok(())
}

/// `layer_types`, or what the older `sliding_window_pattern` stands for.
fn layer_types(text: &Value) -> Result<Vec<LayerType>, GemmaConfigError> {
    let layers = size(text, "num_hidden_layers", None)?;
    if layers > 1024 {
        return Err(wrong(text, "num_hidden_layers", "at most 1024"));
    }
    let Some(types) = present(text, "layer_types") else {
        return Ok(LayerType::pattern(layers, size(text, "sliding_window_pattern", Some(6))?));
    };
    let types: Option<Vec<LayerType>> = serde_json::from_value(types.clone()).ok();
    types.filter(|types| types.len() == layers).ok_or_else(|| {
        wrong(text, "layer_types", "\"sliding_attention\" or \"full_attention\" for each of `num_hidden_layers`")
    })
}

/// Base and divisor of the rotary frequencies in one kind of layer.
fn rope(text: &Value, kind: LayerType) -> Result<(f64, f64), GemmaConfigError> {
    let (kind_key, old_theta, default) = match kind {
        LayerType::Global => ("full_attention", "rope_theta", 1_000_000.0),
        LayerType::Sliding => ("sliding_attention", "rope_local_base_freq", 10_000.0),
    };
    let new = present(text, "rope_parameters");
    if new.is_some_and(|new| new.get("rope_theta").is_some() || new.get("rope_type").is_some()) {
        return Err(wrong(text, "rope_parameters", "an entry for `full_attention` and one for `sliding_attention`"));
    }
    let new = new.and_then(|new| present(new, kind_key));
    let old = present(text, "rope_scaling").filter(|_| kind == LayerType::Global);
    let given = [old, new].into_iter().flatten().find(|rope| present(rope, "rope_theta").is_some());
    let theta = match given {
        Some(rope) => number(rope, "rope_theta", default)?,
        None => number(text, old_theta, default)?,
    };
    let Some(scaling) = old.or(new) else { return Ok((theta, 1.0)) };
    let type_key = if scaling.get("rope_type").is_some() { "rope_type" } else { "type" };
    let factor = match (scaling.get(type_key).and_then(Value::as_str), kind) {
        (None | Some("default"), _) => 1.0,
        (Some("linear"), LayerType::Global) => {
            present(scaling, "factor").ok_or_else(|| wrong(scaling, "factor", "a number above 0"))?;
            number(scaling, "factor", 1.0)?
        }
        (_, LayerType::Global) => return Err(wrong(scaling, type_key, "\"default\" or \"linear\"")),
        (_, LayerType::Sliding) => return Err(wrong(scaling, type_key, "\"default\" in sliding layers")),
    };
    if present(scaling, "partial_rotary_factor").is_some_and(|share| share.as_f64() != Some(1.0)) {
        return Err(wrong(scaling, "partial_rotary_factor", "1, or not there"));
    }
    Ok((theta, factor))
}

/// The value of `key`, unless it is null.
pub(crate) fn present<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    config.get(key).filter(|value| !value.is_null())
}

/// A positive whole number below 2^24, so that no product of sizes can overflow.
pub(crate) fn size(config: &Value, key: &str, default: Option<usize>) -> Result<usize, GemmaConfigError> {
    match present(config, key) {
        None => default.ok_or_else(|| wrong(config, key, "a whole number")),
        Some(value) => value
            .as_u64()
            .filter(|v| (1..1 << 24).contains(v))
            .map(|v| v as usize)
            .ok_or_else(|| wrong(config, key, "a whole number from 1 to 16777215")),
    }
}

pub(crate) fn number(config: &Value, key: &str, default: f64) -> Result<f64, GemmaConfigError> {
    let Some(value) = present(config, key) else { return Ok(default) };
    let positive = value.as_f64().filter(|v| v.is_finite() && *v > 0.0);
    positive.ok_or_else(|| wrong(config, key, "a number above 0"))
}

pub(crate) fn wrong(config: &Value, key: &str, expected: &str) -> GemmaConfigError {
    let found = config.get(key).map_or_else(|| "missing".to_owned(), Value::to_string);
    GemmaConfigError::Key { key: key.to_owned(), found, expected: expected.to_owned() }
}
