//! Key maps: a checkpoint's tensor names to a module's field paths.

use regex::Regex;

/// Ordered rules, each a regular expression and its replacement (`$1` captures). Every rule is
/// applied once, in order, to what the rules before it left.
#[derive(Debug, Clone, Default)]
pub struct KeyMap {
    rules: Vec<(Regex, String)>,
}

impl KeyMap {
    /// A map of these `(pattern, replacement)` rules. Anchor the patterns: they match anywhere.
    ///
    /// # Panics
    /// When a pattern is not a regular expression; patterns are written in the model crates, not
    /// by users.
    pub fn new(rules: &[(&str, &str)]) -> Self {
        let rules = rules.iter().map(|(pattern, replacement)| (compile(pattern), replacement.to_string()));
        Self { rules: rules.collect() }
    }

    /// The map that changes nothing.
    pub fn identity() -> Self {
        Self::default()
    }

    /// These rules, then those of `other`.
    pub fn then(mut self, other: &KeyMap) -> Self {
        self.rules.extend(other.rules.iter().cloned());
        self
    }

    /// The field path for the checkpoint name `name`.
    pub fn apply(&self, name: &str) -> String {
        self.rules.iter().fold(name.to_string(), |name, rule| rule.0.replace(&name, rule.1.as_str()).into_owned())
    }
}

/// What may be absent from a checkpoint, or left over in it, without an error.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    missing: Vec<Regex>,
    unused: Vec<Regex>,
}

impl Allow {
    /// Nothing: every parameter has a tensor and every tensor a parameter.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Parameters whose field path matches `pattern` may keep their initial value.
    ///
    /// # Panics
    /// As [`KeyMap::new`].
    pub fn missing(mut self, pattern: &str) -> Self {
        self.missing.push(compile(pattern));
        self
    }

    /// Tensors whose name in the checkpoint matches `pattern` may be left over.
    ///
    /// # Panics
    /// As [`KeyMap::new`].
    pub fn unused(mut self, pattern: &str) -> Self {
        self.unused.push(compile(pattern));
        self
    }

    pub(crate) fn is_missing_allowed(&self, path: &str) -> bool {
        self.missing.iter().any(|pattern| pattern.is_match(path))
    }

    pub(crate) fn is_unused_allowed(&self, name: &str) -> bool {
        self.unused.iter().any(|pattern| pattern.is_match(name))
    }
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("key pattern `{pattern}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_apply_in_order_and_build_on_each_other() {
        let keys = KeyMap::new(&[(r"^model\.", ""), (r"^layers\.(\d+)\.self_attn\.", "blocks.$1.attention.")]);
        assert_eq!(keys.apply("model.layers.12.self_attn.q_proj.weight"), "blocks.12.attention.q_proj.weight");
        assert_eq!(keys.apply("lm_head.weight"), "lm_head.weight");
        let longer = keys.then(&KeyMap::new(&[("^blocks", "b")]));
        assert_eq!(longer.apply("model.layers.0.self_attn.x"), "b.0.attention.x");
        assert_eq!(KeyMap::identity().apply("a.b"), "a.b");
    }

    #[test]
    fn nothing_is_allowed_unless_named() {
        let allow = Allow::nothing().missing(r"^guard\.").unused("inv_freq$");
        assert!(allow.is_missing_allowed("guard.fc1.weight"));
        assert!(!allow.is_missing_allowed("head.guard.fc1.weight"));
        assert!(allow.is_unused_allowed("layers.0.rotary.inv_freq"));
        assert!(!Allow::nothing().is_unused_allowed("x"));
    }
}
