//! Values out of the JSON files beside a checkpoint, each checked where it is read.

use std::ops::RangeInclusive;

use serde_json::Value;
use thiserror::Error;

/// A value that is missing, of another type, or that would silently change the numbers.
#[derive(Debug, Error)]
#[error("{file}: `{key}` is {found}, expected {expected}; take the file from the checkpoint's own folder")]
pub struct FieldError {
    file: &'static str,
    key: String,
    found: String,
    expected: String,
}

/// One object of a JSON file. A key that is null counts as missing, as in Python's readers.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    file: &'static str,
    values: &'a Value,
}

impl<'a> Fields<'a> {
    /// The object `values`, which came from a file called `file`.
    ///
    /// # Errors
    ///
    /// If it is not an object: every key would seem to be missing, and defaults take its place.
    pub fn new(file: &'static str, values: &'a Value) -> Result<Self, FieldError> {
        if values.is_object() {
            return Ok(Self { file, values });
        }
        let key = "the configuration".to_owned();
        Err(FieldError { file, key, found: shorten(values), expected: "an object".to_owned() })
    }

    /// The value of `key`, unless it is missing or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// A whole number within `range`; `default` if it is missing.
    ///
    /// # Errors
    ///
    /// If it is missing without a default, or something else.
    pub fn whole(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
        default: impl Into<Option<usize>>,
    ) -> Result<usize, FieldError> {
        let found = match self.get(key) {
            None => default.into(),
            Some(value) => value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n)),
        };
        found.ok_or_else(|| self.wrong(key, format!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// The side of a square in pixels, from 1 to 16384, written as a number or as two equal ones.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn side(&self, key: &str, default: usize) -> Result<usize, FieldError> {
        let value = match self.get(key) {
            None => return Ok(default),
            Some(Value::Array(both)) if both.len() == 2 && both[0] == both[1] => &both[0],
            Some(value) => value,
        };
        let side = value.as_u64().filter(|side| (1..=16_384).contains(side)).map(|side| side as usize);
        side.ok_or_else(|| self.wrong(key, "one side of a square, from 1 to 16384 pixels"))
    }

    /// A number above 0; `default` if it is missing.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn positive(&self, key: &str, default: f64) -> Result<f64, FieldError> {
        let number = |value: &Value| value.as_f64().filter(|n| n.is_finite() && *n > 0.0);
        self.get(key).map_or(Some(default), number).ok_or_else(|| self.wrong(key, "a number above 0"))
    }

    /// True or false; `default` if it is missing.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, FieldError> {
        self.get(key).map_or(Some(default), Value::as_bool).ok_or_else(|| self.wrong(key, "true or false"))
    }

    /// A word; `default` if it is missing.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn text(&self, key: &str, default: &'a str) -> Result<&'a str, FieldError> {
        self.get(key).map_or(Some(default), Value::as_str).ok_or_else(|| self.wrong(key, "a word in quotes"))
    }

    /// The error for a `key` whose value is not what was `expected`.
    pub fn wrong(&self, key: &str, expected: impl Into<String>) -> FieldError {
        let found = self.values.get(key).map_or_else(|| "missing".to_owned(), shorten);
        FieldError { file: self.file, key: key.to_owned(), found, expected: expected.into() }
    }
}

/// A value as an error message shows it.
fn shorten(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_checked_where_they_are_read() {
        let json = json!({"layers": 3, "zero": 0, "eps": 1e-6, "none": null, "name": "gelu", "on": true});
        let fields = Fields::new("config.json", &json).unwrap();
        assert_eq!(fields.whole("layers", 1..=9, None).unwrap(), 3);
        assert_eq!(fields.whole("none", 1..=9, 7).unwrap(), 7);
        assert_eq!(fields.positive("eps", 1.0).unwrap(), 1e-6);
        assert_eq!((fields.text("name", "").unwrap(), fields.text("none", "x").unwrap()), ("gelu", "x"));
        assert!(fields.flag("on", false).unwrap() && !fields.flag("off", false).unwrap());

        let message = fields.whole("zero", 1..=9, 7).unwrap_err().to_string();
        assert_eq!(
            message,
            "config.json: `zero` is 0, expected a whole number from 1 to 9; take the file from the checkpoint's own folder"
        );
        assert!(fields.whole("layers", 4..=9, None).is_err() && fields.whole("eps", 0..=9, None).is_err());
        assert!(fields.whole("none", 1..=9, None).unwrap_err().to_string().contains("null"));
        assert!(fields.whole("nowhere", 1..=9, None).unwrap_err().to_string().contains("missing"));
        assert!(fields.positive("zero", 1.0).is_err() && fields.positive("name", 1.0).is_err());
        assert!(fields.flag("eps", true).is_err() && fields.text("layers", "").is_err());
    }

    #[test]
    fn what_is_no_object_is_not_read_as_an_empty_one() {
        let long = json!(["ä"; 99]);
        let message = Fields::new("preprocessor_config.json", &long).unwrap_err().to_string();
        assert!(message.contains("expected an object") && message.len() < 260, "{message}");
    }
}
