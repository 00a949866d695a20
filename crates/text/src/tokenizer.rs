//! `tokenizer.json`, or else Llama's `tokenizer.model`, through the tokenizers library.

use std::collections::HashSet;
use std::path::Path;

use tokenizers::{AddedToken, Tokenizer};

use crate::error::{TextError, read_limited};
use crate::llama;
use crate::neutral::Markers;

/// Larger than any published `tokenizer.json` (Gemma 3's has 33 MB).
const TOKENIZER_LIMIT: u64 = 256 << 20;

/// A model's tokenizer.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    markers: Markers,
    special_ids: HashSet<u32>,
    plain_added: Vec<String>,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` of a model folder, or, where there is none, the SentencePiece model
    /// `tokenizer.model` as transformers' Llama tokenizer reads it.
    ///
    /// # Errors
    ///
    /// If the file is missing, too large or damaged.
    pub fn from_dir(dir: &Path) -> Result<Self, TextError> {
        let path = dir.join("tokenizer.json");
        let tokenizer = if !path.exists() && dir.join("tokenizer.model").exists() {
            llama::from_dir(dir)?
        } else {
            let json = read_limited(&path, TOKENIZER_LIMIT)?;
            json.parse::<Tokenizer>().map_err(|e| TextError::Tokenizer { path, reason: format!("{e}") })?
        };
        let added = tokenizer.get_added_tokens_decoder();
        let special_ids = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let mut markers = Markers::default();
        let mut plain_added = Vec::new();
        for token in added.values() {
            match token.special {
                true => markers.add(&token.content),
                false => plain_added.push(token.content.clone()),
            }
        }
        Ok(Self { tokenizer, markers, special_ids, plain_added })
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

    /// Token ids of a prompt as a processor makes them: what the tokenizer puts before and behind a text
    /// (`<s>` for Llama, `<bos>` for Gemma), unless the chat template has already written it.
    ///
    /// # Errors
    ///
    /// If the tokenizer refuses the text.
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>, TextError> {
        let framed = self.tokenizer.encode_fast(prompt, true).map_err(|e| TextError::Encode(e.to_string()))?;
        match framed.get_ids() {
            [first, second, ..] if first == second && self.is_special(*first) => self.encode(prompt),
            ids => Ok(ids.to_vec()),
        }
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

    /// The greatest id besides one; none of a tokenizer without other tokens.
    pub fn greatest_id(&self, besides: Option<u32>) -> Option<u32> {
        self.tokenizer.get_vocab(true).into_values().filter(|id| Some(*id) != besides).max()
    }

    /// The same tokenizer with one more special token behind its others; one that it has already stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// If the tokenizer refuses it.
    pub fn with_special_token(mut self, token: &str) -> Result<Self, TextError> {
        let added = AddedToken::from(token.to_owned(), true);
        self.tokenizer.add_special_tokens(&[added]);
        let id = self.id(token).ok_or_else(|| TextError::Encode(format!("{token} cannot be added")))?;
        self.special_ids.insert(id);
        self.markers.add(token);
        Ok(self)
    }

    /// Number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// `text` with every special token in it broken by a zero-width space, so that what a user
    /// writes is never taken for a role marker or an image.
    pub fn neutralise(&self, text: &str) -> String {
        self.markers.neutralise(text)
    }

    /// The special tokens.
    pub(crate) fn markers(&self) -> &Markers {
        &self.markers
    }

    /// Tokens beside the model that are not special, such as Qwen's `<tool_call>`.
    pub(crate) fn plain_added(&self) -> impl Iterator<Item = &str> {
        self.plain_added.iter().map(String::as_str)
    }
}
