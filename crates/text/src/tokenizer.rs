//! `tokenizer.json`, through the tokenizers library.

use std::collections::HashSet;
use std::path::Path;

use tokenizers::Tokenizer;

use crate::error::{TextError, read_limited};

/// Larger than any published `tokenizer.json` (Gemma 3's has 33 MB).
const TOKENIZER_LIMIT: u64 = 256 << 20;

/// A model's tokenizer.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    special: Vec<String>,
    special_ids: HashSet<u32>,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` of a model folder.
    ///
    /// # Errors
    ///
    /// If the file is missing, too large or damaged.
    pub fn from_dir(dir: &Path) -> Result<Self, TextError> {
        let path = dir.join("tokenizer.json");
        let json = read_limited(&path, TOKENIZER_LIMIT)?;
        let tokenizer: Tokenizer = json.parse().map_err(|e| TextError::Tokenizer { path, reason: format!("{e}") })?;
        let added = tokenizer.get_added_tokens_decoder();
        let special: Vec<_> = added.iter().filter(|(_, token)| token.special).collect();
        let special_ids = special.iter().map(|(id, _)| **id).collect();
        let mut special: Vec<String> = special.iter().map(|(_, token)| token.content.clone()).collect();
        special.sort_by_key(|s| std::cmp::Reverse(s.len()));
        Ok(Self { special, special_ids, tokenizer })
    }

    /// Token ids of `text`, in which special tokens are recognised.
    ///
    /// # Errors
    ///
    /// If the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|e| TextError::Encode(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, without special tokens.
    ///
    /// # Errors
    ///
    /// If the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.tokenizer.decode(ids, true).map_err(|e| TextError::Encode(e.to_string()))
    }

    /// The id of one token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Whether `id` is a special token, which never appears in text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// Number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// `text` with every special token in it broken by a zero-width space, so that what a user
    /// writes is never taken for a role marker or an image.
    pub fn neutralise(&self, text: &str) -> String {
        let mut safe = text.to_owned();
        for token in self.special.iter().filter(|t| !t.is_empty()) {
            if safe.contains(token.as_str()) {
                let first = token.chars().next().map_or(0, char::len_utf8);
                let broken = format!("{}\u{200b}{}", &token[..first], &token[first..]);
                safe = safe.replace(token.as_str(), &broken);
            }
        }
        safe
    }
}
