//! Size of the guard head, as a checkpoint's `config.json` tells it.

use burn::config::Config;
use safevlm_nn::GuardInput;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Configuration of the guard head; the names are those of the published checkpoints' `config.json`.
#[derive(Config, Debug, PartialEq)]
pub struct VgmConfig {
    /// Width of the language model's hidden states.
    pub hidden_size: usize,
    /// Number of classes, "safe" included.
    #[config(default = 20)]
    pub num_safety_categories: usize,
    /// Width inside the head, as a share of `hidden_size`.
    #[config(default = 0.5)]
    pub safety_head_hidden_scale: f64,
    /// Number of hidden layers.
    #[config(default = 1)]
    pub safety_num_hidden_layers: usize,
    /// Dropout between the layers while training.
    #[config(default = 0.1)]
    pub dropout: f64,
    /// What the head looks at.
    #[config(default = "GuardInput::HiddenStates")]
    pub guard_input: GuardInput,
    /// Whether the head looks at the state of a token of its own behind each image's, as in the paper's v1.
    #[config(default = false)]
    pub safety_meta_token: bool,
}

/// A guard configuration that cannot be built.
#[derive(Debug, Error)]
#[error("config.json: `{key}` is {found}, expected {expected}: take the file from the checkpoint's own folder")]
pub struct VgmConfigError {
    key: &'static str,
    found: String,
    expected: &'static str,
}

impl VgmConfig {
    /// Width of the hidden layer.
    pub fn inner(&self) -> usize {
        (self.hidden_size as f64 * self.safety_head_hidden_scale) as usize
    }

    /// Reads the guard's keys from a model's `config.json`; `None` if it has no guard head.
    ///
    /// # Errors
    ///
    /// If a key has another type, or a value that no head can have.
    pub fn from_hf(config: &Value, hidden_size: usize) -> Result<Option<Self>, VgmConfigError> {
        let count = present(config, "num_safety_categories");
        let names = present(config, "safety_categories");
        if count.is_none() && names.is_none() {
            return Ok(None);
        }
        let listed = match names {
            None => None,
            Some(Value::Array(names)) => Some(names.len()),
            Some(_) => return Err(wrong(config, "safety_categories", "a list of names")),
        };
        let classes = whole(config, "num_safety_categories", listed.unwrap_or(20))?;
        let layers = whole(config, "safety_num_hidden_layers", 1)?;
        if layers != 1 {
            return Err(wrong(config, "safety_num_hidden_layers", "1, as in every published Safe-VLM"));
        }
        if !(2..=1000).contains(&classes) || listed.is_some_and(|listed| listed != classes) {
            return Err(wrong(config, "num_safety_categories", "the length of `safety_categories`, 2 to 1000"));
        }
        let scale = match present(config, "safety_head_hidden_scale") {
            None => 0.5,
            Some(value) => {
                value.as_f64().filter(|scale| *scale <= 8.0 && *scale * hidden_size as f64 >= 1.0).ok_or_else(|| {
                    wrong(config, "safety_head_hidden_scale", "a number up to 8 that leaves the head a hidden unit")
                })?
            }
        };
        let input = present(config, "guard_input").map(|value| GuardInput::deserialize(value));
        let input = input
            .transpose()
            .map_err(|_| wrong(config, "guard_input", "\"hidden_states\" (the language model's) or \"projector\""))?;
        let meta = present(config, "safety_meta_token").map_or(Some(false), Value::as_bool);
        let meta = meta.ok_or_else(|| wrong(config, "safety_meta_token", "true or false"))?;
        if meta && input == Some(GuardInput::Projector) {
            return Err(wrong(config, "guard_input", "\"hidden_states\", as a meta token has no state before them"));
        }
        let head = Self::new(hidden_size).with_num_safety_categories(classes).with_safety_head_hidden_scale(scale);
        Ok(Some(head.with_guard_input(input.unwrap_or_default()).with_safety_meta_token(meta)))
    }
}

/// A key's value, unless it is missing or null.
fn present<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    config.get(key).filter(|value| !value.is_null())
}

fn whole(config: &Value, key: &'static str, default: usize) -> Result<usize, VgmConfigError> {
    match present(config, key) {
        None => Ok(default),
        Some(value) => value.as_u64().map(|v| v as usize).ok_or_else(|| wrong(config, key, "a whole number")),
    }
}

fn wrong(config: &Value, key: &'static str, expected: &'static str) -> VgmConfigError {
    let found = config.get(key).map_or_else(|| "missing".to_owned(), Value::to_string);
    VgmConfigError { key, found, expected }
}
