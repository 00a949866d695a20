//! Reading the JSON files of a Hugging Face folder value by value, with errors that name the key.

use serde_json::Value;
use thiserror::Error;

/// A configuration file that does not describe what the crate can build.
#[derive(Debug, Error)]
#[error("{file}: `{key}` is {found}, expected {expected}: take the file from the checkpoint's own folder")]
pub struct HfConfigError {
    file: &'static str,
    key: String,
    found: String,
    expected: String,
}

/// One object of a configuration file. A key whose value is `null` counts as absent.
#[derive(Clone, Copy, Debug)]
pub struct HfConfig<'a> {
    file: &'static str,
    object: &'a Value,
}

impl<'a> HfConfig<'a> {
    /// The top level of a `config.json`.
    pub fn new(config: &'a Value) -> Self {
        Self::of_file("config.json", config)
    }

    /// The top level of another file, named in errors as `file`.
    pub fn of_file(file: &'static str, config: &'a Value) -> Self {
        Self { file, object: config }
    }

    /// The object itself.
    pub fn value(&self) -> &'a Value {
        self.object
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// The object under `key`.
    pub fn section(&self, key: &str) -> Option<Self> {
        self.get(key).map(|object| Self { file: self.file, object })
    }

    /// The text under `key`.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    /// A whole number from 1 to 2^24 - 1, so that no product of two sizes can overflow; `default`
    /// where the key is absent.
    ///
    /// # Errors
    ///
    /// If the value is something else, or absent without a usable default.
    pub fn size(&self, key: &str, default: Option<usize>) -> Result<usize, HfConfigError> {
        match self.get(key) {
            None => default.filter(|d| *d > 0).ok_or_else(|| self.wrong(key, "a whole number")),
            Some(value) => whole(value).ok_or_else(|| self.wrong(key, "a whole number from 1 to 16777215")),
        }
    }

    /// A list of whole numbers, `most` at the most, each from `least` to 2^24 - 1.
    ///
    /// # Errors
    ///
    /// If the value is something else.
    pub fn sizes(&self, key: &str, least: usize, most: usize) -> Result<Option<Vec<usize>>, HfConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = |value: &Value| match value.as_u64() {
            Some(0) if least == 0 => Some(0),
            _ => whole(value),
        };
        let list = value.as_array().filter(|list| list.len() <= most);
        let sizes = list.and_then(|list| list.iter().map(number).collect());
        sizes.map(Some).ok_or_else(|| self.wrong(key, "a list of whole numbers"))
    }

    /// A finite number above zero; `default` where the key is absent.
    ///
    /// # Errors
    ///
    /// If the value is something else.
    pub fn number(&self, key: &str, default: f64) -> Result<f64, HfConfigError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let number = value.as_f64().filter(|v| v.is_finite() && *v > 0.0);
        number.ok_or_else(|| self.wrong(key, "a number above 0"))
    }

    /// A truth value; `default` where the key is absent.
    ///
    /// # Errors
    ///
    /// If the value is something else.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, HfConfigError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.wrong(key, "true or false"))
    }

    /// Refuses any value of `key` but `expected`; its absence is accepted.
    ///
    /// # Errors
    ///
    /// If there is another value.
    pub fn must_be(&self, key: &str, expected: &Value) -> Result<(), HfConfigError> {
        match self.get(key) {
            Some(value) if value != expected => Err(self.wrong(key, &expected.to_string())),
            _ => Ok(()),
        }
    }

    /// The error that `key` has another value than `expected`.
    pub fn wrong(&self, key: &str, expected: &str) -> HfConfigError {
        let found = self.object.get(key).map_or_else(|| "missing".to_owned(), Value::to_string);
        HfConfigError { file: self.file, key: key.to_owned(), found, expected: expected.to_owned() }
    }
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().filter(|v| (1..1 << 24).contains(v)).map(|v| v as usize)
}
