//! A key that never shows.

use std::env;
use std::fmt;

use super::error::LlmError;

/// A key from an environment variable. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    variable: String,
    key: String,
}

impl Secret {
    /// The key in the environment variable `variable`; none where that is not set or empty.
    ///
    /// # Errors
    /// When no header can carry the key.
    pub fn from_env(variable: &str) -> Result<Option<Self>, LlmError> {
        match env::var_os(variable) {
            Some(value) if value.is_empty() => Ok(None),
            // What is not UTF-8 is refused like everything else that is not plain ASCII.
            Some(value) => Self::new(variable, value.to_string_lossy().trim()).map(Some),
            None => Ok(None),
        }
    }

    /// `key` as if it had been read from `variable`.
    ///
    /// # Errors
    /// When no header can carry it.
    pub fn new(variable: &str, key: &str) -> Result<Self, LlmError> {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LlmError::BadKey { variable: variable.to_string() });
        }
        Ok(Self { variable: variable.to_string(), key: key.to_string() })
    }

    /// The environment variable.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    pub(super) fn expose(&self) -> &str {
        &self.key
    }

    /// `text` without the key: a server may repeat it.
    pub(super) fn remove_from(&self, text: &str) -> String {
        text.replace(&self.key, "***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_shows() {
        let secret = Secret::new("MY_KEY", "sk-123").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(MY_KEY)");
        assert_eq!(secret.remove_from("bad key sk-123!"), "bad key ***!");
        for key in ["", "sk 123", "sk-123\r\nX-Evil: 1", "schlüssel"] {
            let error = Secret::new("MY_KEY", key).unwrap_err();
            assert!(error.to_string().starts_with("the key in MY_KEY is empty or has"), "{error}");
        }
    }
}
