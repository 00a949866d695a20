//! `adapter_config.json`: how strongly an adapter counts, and whether it is a plain LoRA at all.

use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::error::WeightsError;

/// Real files have a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Keys that say how an adapter was trained or where it comes from; its tensors tell the rest.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_config",
    "megatron_core",
    "modules_to_save",
    "parent_library",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// What an adapter's product is multiplied with, and the rank that its tensors must have.
#[derive(Debug, Clone)]
pub struct LoraConfig {
    rank: usize,
    alpha: f64,
    rank_stabilised: bool,
    /// Ranks and alphas of modules whose path matches; the first match counts.
    rank_pattern: Vec<(Regex, usize)>,
    alpha_pattern: Vec<(Regex, f64)>,
}

impl LoraConfig {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// As [`LoraConfig::from_json`], and when the file is missing, too large or not JSON.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let bad = |reason: String| WeightsError::malformed(path, "adapter_config.json", reason);
        let length = fs::metadata(path).map_err(WeightsError::io("read", path))?.len();
        if length > MAX_CONFIG_BYTES {
            return Err(bad(format!("it has more than {MAX_CONFIG_BYTES} bytes")));
        }
        let text = fs::read(path).map_err(WeightsError::io("read", path))?;
        let config = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        Self::from_json(&config).map_err(|reason| WeightsError::unsupported(path, reason))
    }

    /// Reads the parsed file.
    ///
    /// # Errors
    /// Says which key asks for anything but a plain LoRA on `[out, in]` weights, or is not what it
    /// must be. A key that is not known is refused too, unless it is off: it may change the numbers.
    pub fn from_json(config: &Value) -> Result<Self, String> {
        let config = config.as_object().ok_or("it is not a JSON object")?;
        if config.get("peft_type").and_then(Value::as_str) != Some("LORA") {
            let found = config.get("peft_type").unwrap_or(&Value::Null);
            return Err(format!("its `peft_type` is {found}, and only \"LORA\" is supported"));
        }
        for (key, value) in config {
            match key.as_str() {
                "peft_type" | "r" | "lora_alpha" | "use_rslora" | "rank_pattern" | "alpha_pattern" => {}
                "init_lora_weights" => check_initialisation(value)?,
                key if HARMLESS.contains(&key) || is_off(value) => {}
                key => return Err(not_plain(key, value)),
            }
        }
        let value = |key| config.get(key).unwrap_or(&Value::Null);
        Ok(Self {
            rank: rank("r", value("r"))?,
            alpha: alpha("lora_alpha", value("lora_alpha"))?,
            rank_stabilised: match value("use_rslora") {
                Value::Null => false,
                value => value.as_bool().ok_or("its `use_rslora` is neither true nor false")?,
            },
            rank_pattern: patterns("rank_pattern", value("rank_pattern"), rank)?,
            alpha_pattern: patterns("alpha_pattern", value("alpha_pattern"), alpha)?,
        })
    }

    /// The rank of the module at `path` (`model.layers.0.self_attn.q_proj`).
    pub(super) fn rank(&self, path: &str) -> usize {
        first(&self.rank_pattern, path).unwrap_or(self.rank)
    }

    /// What the module's product is multiplied with.
    pub(super) fn scale(&self, path: &str) -> f32 {
        let alpha = first(&self.alpha_pattern, path).unwrap_or(self.alpha);
        let rank = self.rank(path) as f64;
        (alpha / if self.rank_stabilised { rank.sqrt() } else { rank }) as f32
    }
}

/// Whether a key asks for nothing.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::Number(_) | Value::String(_) => false,
    }
}

fn not_plain(key: &str, value: &Value) -> String {
    format!("its `{key}` is {value}, which a plain LoRA does not have; {MERGE_FIRST}")
}

/// PiSSA, OLoRA, CorDA, LoftQ and others take a part out of the base's weights first: the adapter
/// does not fit the published base.
fn check_initialisation(value: &Value) -> Result<(), String> {
    let keeps_the_base = match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(name) => ["gaussian", "eva", "orthogonal"].contains(&name.to_lowercase().as_str()),
        _ => false,
    };
    match keeps_the_base {
        true => Ok(()),
        false => Err(format!("its `init_lora_weights` is {value}, which changes the base's weights; {MERGE_FIRST}")),
    }
}

/// What to do about an adapter that is not supported.
pub(super) const MERGE_FIRST: &str = "merge it with PEFT (`merge_and_unload`) and use the merged model";

fn rank(key: &str, value: &Value) -> Result<usize, String> {
    let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|rank| *rank > 0);
    rank.ok_or_else(|| format!("its `{key}` is {value} and should be a whole number above zero"))
}

fn alpha(key: &str, value: &Value) -> Result<f64, String> {
    value.as_f64().ok_or_else(|| format!("its `{key}` is {value} and should be a number"))
}

/// A `rank_pattern` or `alpha_pattern`, in the file's order.
fn patterns<T>(
    key: &str,
    value: &Value,
    read: impl Fn(&str, &Value) -> Result<T, String>,
) -> Result<Vec<(Regex, T)>, String> {
    let entries = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(entries) => entries,
        _ => return Err(format!("its `{key}` is {value} and should be an object")),
    };
    let entry = |(pattern, value): (&String, &Value)| {
        // The end of a module's path, after a dot or from its beginning, as PEFT matches it.
        let regex = Regex::new(&format!(r"^(.*\.)?({pattern})$"))
            .map_err(|error| format!("its `{key}` has the pattern `{pattern}`, which cannot be read: {error}"))?;
        Ok((regex, read(key, value)?))
    };
    entries.iter().map(entry).collect()
}

fn first<T: Copy>(patterns: &[(Regex, T)], path: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(path)).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(key: &str, value: Value) -> Result<LoraConfig, String> {
        let mut config = json!({
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "fan_in_fan_out": false, "use_dora": false,
            "target_modules": ["q_proj"], "modules_to_save": null, "rank_pattern": {}, "loftq_config": {},
            "qalora_group_size": 16, "megatron_core": "megatron.core", "init_lora_weights": true,
        });
        config[key] = value;
        LoraConfig::from_json(&config)
    }

    #[test]
    fn rank_and_scale_come_from_the_first_pattern_that_matches_the_end_of_the_path() {
        let plain = with("revision", Value::Null).unwrap();
        assert_eq!((plain.rank("a.q_proj"), plain.scale("a.q_proj")), (4, 2.));
        assert_eq!(with("use_rslora", json!(true)).unwrap().scale("a"), 4.);
        let ranks = with("rank_pattern", json!({"layers.1.q_proj": 16, "q_proj": 2, "^model.o": 1})).unwrap();
        assert_eq!(ranks.rank("model.layers.1.q_proj"), 16);
        assert_eq!(ranks.rank("model.layers.11.q_proj"), 2);
        assert_eq!(ranks.rank("model.layers.1.my_q_proj"), 4);
        assert_eq!((ranks.rank("model.o"), ranks.rank("a.model.o")), (1, 4));
        assert_eq!(ranks.scale("model.layers.1.q_proj"), 0.5);
        let alphas = with("alpha_pattern", json!({"q_proj": 1.0})).unwrap();
        assert_eq!((alphas.scale("a.q_proj"), alphas.scale("a.k_proj")), (0.25, 2.));
    }

    #[test]
    fn what_is_not_a_plain_lora_is_refused_by_its_key() {
        for (key, value) in [
            ("peft_type", json!("IA3")),
            ("peft_type", Value::Null),
            ("fan_in_fan_out", json!(true)),
            ("use_dora", json!(true)),
            ("use_qalora", json!(true)),
            ("lora_bias", json!(true)),
            ("layer_replication", json!([[0, 2]])),
            ("trainable_token_indices", json!([1])),
            ("target_parameters", json!(["experts"])),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("init_lora_weights", json!("loftq")),
            ("kasa_config", json!({"beta": 1})),
            ("something_new", json!("on")),
            ("r", json!(0)),
            ("r", json!(-4)),
            ("r", Value::Null),
            ("lora_alpha", json!("8")),
            ("use_rslora", json!("yes")),
            ("rank_pattern", json!({"(": 2})),
            ("rank_pattern", json!({"q": 0})),
            ("alpha_pattern", json!([1])),
        ] {
            let error = with(key, value.clone()).expect_err(key);
            assert!(error.contains(&format!("`{key}`")), "{key} {value}: {error}");
        }
        assert!(LoraConfig::from_json(&json!([])).is_err());
        for (key, value) in
            [("use_dora", Value::Null), ("something_new", json!([])), ("init_lora_weights", json!("eva"))]
        {
            assert!(with(key, value).is_ok(), "{key}");
        }
    }
}
