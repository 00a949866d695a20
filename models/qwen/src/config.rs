//! Size and options of a Qwen2 decoder, and some published sizes.

use std::ops::RangeInclusive;

use burn::config::Config;
use safevlm_core::fields::{FieldError, Fields};
use serde_json::Value;

const FILE: &str = "config.json";

/// Configuration of a decoder; the names are those of Hugging Face's `config.json`.
#[derive(Config, Debug)]
pub struct QwenConfig {
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
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Epsilon of the norms.
    #[config(default = 1e-6)]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[config(default = 1000000.0)]
    pub rope_theta: f64,
    /// How many rotary frequencies turn with a token's time, its row and its column; empty in a model
    /// that reads only text.
    #[config(default = "Vec::new()")]
    pub mrope_section: Vec<usize>,
    /// Whether the output head is the embedding table.
    #[config(default = false)]
    pub tie_word_embeddings: bool,
}

/// The numbers of one published size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Name of the checkpoint, without its maker and `-Instruct`.
    pub name: &'static str,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the model.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Numbers of query heads and of key and value heads.
    pub heads: (usize, usize),
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Whether it is the language model of a Qwen2.5-VL.
    pub multimodal: bool,
    /// Whether the output head is the embedding table.
    pub tie_word_embeddings: bool,
}

/// Qwen2.5 and Qwen2.5-VL, as their `config.json` files have them.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "qwen2.5-0.5b",
        vocab_size: 151_936,
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        heads: (14, 2),
        max_position_embeddings: 32_768,
        multimodal: false,
        tie_word_embeddings: true,
    },
    Preset {
        name: "qwen2.5-vl-3b",
        vocab_size: 151_936,
        hidden_size: 2048,
        intermediate_size: 11_008,
        num_hidden_layers: 36,
        heads: (16, 2),
        max_position_embeddings: 128_000,
        multimodal: true,
        tie_word_embeddings: true,
    },
    Preset {
        name: "qwen2.5-vl-7b",
        vocab_size: 152_064,
        hidden_size: 3584,
        intermediate_size: 18_944,
        num_hidden_layers: 28,
        heads: (28, 4),
        max_position_embeddings: 128_000,
        multimodal: true,
        tie_word_embeddings: false,
    },
    Preset {
        name: "qwen2.5-vl-32b",
        vocab_size: 152_064,
        hidden_size: 5120,
        intermediate_size: 27_648,
        num_hidden_layers: 64,
        heads: (40, 8),
        max_position_embeddings: 128_000,
        multimodal: true,
        tie_word_embeddings: false,
    },
];

/// What Qwen2.5-VL has where its configuration names no sections (reference: `Qwen2_5_VLRotaryEmbedding`).
const DEFAULT_SECTION: [usize; 3] = [16, 24, 24];

impl Preset {
    /// The preset in full.
    pub fn config(&self) -> QwenConfig {
        let sections = if self.multimodal { DEFAULT_SECTION.to_vec() } else { vec![] };
        QwenConfig::new(
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.heads.0,
            self.heads.1,
            self.max_position_embeddings,
        )
        .with_mrope_section(sections)
        .with_tie_word_embeddings(self.tie_word_embeddings)
    }
}

/// What a size may be, so that no product of two can overflow.
const SIZES: RangeInclusive<usize> = 1..=16_777_215;

impl QwenConfig {
    /// Reads the parsed `config.json` of Qwen2, or of Qwen2.5-VL with its text settings in `text_config` (newer
    /// files) or at the top level (older ones); rotary settings in the old or the new layout.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type or an impossible value, or asks for something that would
    /// silently change the numbers, such as a sliding window.
    pub fn from_hf(config: &Value) -> Result<Self, FieldError> {
        let top = Fields::new(FILE, config)?;
        let fields = section(&top, "text_config")?.unwrap_or(top);
        let size = |key: &str| fields.whole(key, SIZES, None);
        let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let kv_heads = fields.whole("num_key_value_heads", SIZES, heads)?;
        if heads % kv_heads != 0 {
            return Err(fields.wrong("num_key_value_heads", "a divisor of `num_attention_heads`"));
        }
        if hidden % heads != 0 || !(hidden / heads).is_multiple_of(2) {
            let expected = "a divisor of `hidden_size` that leaves heads of even width";
            return Err(fields.wrong("num_attention_heads", expected));
        }
        refuse_other_models(&fields, hidden / heads)?;
        let multimodal = top.text("model_type", "")?.contains("vl");
        let rope = match section(&fields, "rope_parameters")? {
            None => section(&fields, "rope_scaling")?,
            rope => rope,
        };
        let theta = rope.filter(|rope| rope.get("rope_theta").is_some()).unwrap_or(fields);
        let tied = top.flag("tie_word_embeddings", false)? || fields.flag("tie_word_embeddings", false)?;
        // Where keys are absent, the two families' defaults in the reference.
        let (eps, base) = if multimodal { (1e-5, 1e6) } else { (1e-6, 1e4) };
        Ok(Self::new(
            size("vocab_size")?,
            hidden,
            size("intermediate_size")?,
            fields.whole("num_hidden_layers", 1..=1024, None)?,
            heads,
            kv_heads,
            fields.whole("max_position_embeddings", SIZES, 32_768)?,
        )
        .with_rms_norm_eps(fields.positive("rms_norm_eps", eps)?)
        .with_rope_theta(theta.positive("rope_theta", base)?)
        .with_mrope_section(mrope_section(rope, multimodal, hidden / heads)?)
        .with_tie_word_embeddings(tied))
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

/// The object under `key`.
fn section<'a>(fields: &Fields<'a>, key: &str) -> Result<Option<Fields<'a>>, FieldError> {
    fields.get(key).map(|values| Fields::new(FILE, values)).transpose()
}

/// No published checkpoint of the family has a sliding window switched on, or heads of another width.
fn refuse_other_models(fields: &Fields<'_>, head_dim: usize) -> Result<(), FieldError> {
    fields.whole("head_dim", head_dim..=head_dim, head_dim)?;
    if fields.text("hidden_act", "silu")? != "silu" {
        return Err(fields.wrong("hidden_act", "\"silu\""));
    }
    if fields.flag("use_sliding_window", false)? {
        return Err(fields.wrong("use_sliding_window", "false"));
    }
    let kinds = fields.get("layer_types").and_then(Value::as_array);
    match kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind != "full_attention")) {
        true => Err(fields.wrong("layer_types", "\"full_attention\" in every layer")),
        false => Ok(()),
    }
}

/// The sections of the rotary frequencies, which must fill half a head.
fn mrope_section(rope: Option<Fields<'_>>, multimodal: bool, head_dim: usize) -> Result<Vec<usize>, FieldError> {
    let default = if multimodal { DEFAULT_SECTION.to_vec() } else { vec![] };
    let Some(rope) = rope else { return Ok(default) };
    for key in ["rope_type", "type"] {
        if !matches!(rope.text(key, "default")?, "default" | "mrope") {
            return Err(rope.wrong(key, "\"default\" or \"mrope\""));
        }
    }
    let sections = match rope.get("mrope_section") {
        None => default,
        Some(value) => {
            let number = |n: &Value| n.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= head_dim);
            let numbers = value.as_array().and_then(|list| list.iter().map(number).collect());
            numbers.ok_or_else(|| rope.wrong("mrope_section", "a list of three whole numbers"))?
        }
    };
    match sections.is_empty() || (sections.len() == 3 && sections.iter().sum::<usize>() == head_dim / 2) {
        true => Ok(sections),
        false => Err(rope.wrong("mrope_section", "three numbers whose sum is half the width of a head")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What the published files have, in their spelling.
    fn published(preset: &Preset) -> Value {
        let mut config = json!({
            "model_type": "qwen2", "hidden_act": "silu", "vocab_size": preset.vocab_size,
            "hidden_size": preset.hidden_size, "intermediate_size": preset.intermediate_size,
            "num_hidden_layers": preset.num_hidden_layers, "num_attention_heads": preset.heads.0,
            "num_key_value_heads": preset.heads.1, "max_position_embeddings": preset.max_position_embeddings,
            "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "use_sliding_window": false, "sliding_window": 32768,
            "max_window_layers": 70, "tie_word_embeddings": preset.tie_word_embeddings, "torch_dtype": "bfloat16",
        });
        if preset.multimodal {
            config["model_type"] = json!("qwen2_5_vl");
            config["rope_scaling"] = json!({"type": "mrope", "mrope_section": [16, 24, 24]});
        }
        config
    }

    #[test]
    fn published_keys_give_the_presets() {
        for preset in PRESETS {
            let read = QwenConfig::from_hf(&published(&preset)).unwrap();
            assert_eq!(format!("{read:?}"), format!("{:?}", preset.config()), "{}", preset.name);
        }
    }

    #[test]
    fn nested_and_flat_files_are_the_same() {
        let flat = published(&PRESETS[1]);
        let mut text = flat.clone();
        for key in ["rope_theta", "rope_scaling", "tie_word_embeddings"] {
            text.as_object_mut().unwrap().remove(key);
        }
        text["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]});
        let nested = json!({"model_type": "qwen2_5_vl", "text_config": text, "tie_word_embeddings": true});
        let read = |config| format!("{:?}", QwenConfig::from_hf(config).unwrap());
        assert_eq!(read(&nested), read(&flat));
    }

    #[test]
    fn what_would_change_the_numbers_is_refused() {
        let cases = [
            ("use_sliding_window", json!(true), "use_sliding_window"),
            ("layer_types", json!(["full_attention", "sliding_attention"]), "layer_types"),
            ("rope_scaling", json!({"type": "yarn", "factor": 4.0}), "type"),
            ("rope_scaling", json!({"type": "mrope", "mrope_section": [16, 24, 23]}), "mrope_section"),
            ("rope_scaling", json!({"type": "mrope", "mrope_section": [32, 32]}), "mrope_section"),
            ("hidden_act", json!("gelu"), "hidden_act"),
            ("head_dim", json!(64), "head_dim"),
            ("num_attention_heads", json!(7), "num_key_value_heads"),
            ("num_attention_heads", json!(6), "num_attention_heads"),
            ("num_key_value_heads", json!(3), "num_key_value_heads"),
            ("vocab_size", json!(-1), "vocab_size"),
            ("tie_word_embeddings", json!("yes"), "tie_word_embeddings"),
        ];
        for (key, value, named) in cases {
            let mut config = published(&PRESETS[1]);
            config[key] = value;
            let message = QwenConfig::from_hf(&config).unwrap_err().to_string();
            assert!(message.contains(&format!("`{named}`")), "{key}: {message}");
        }
    }
}
