//! Judgements that were paid for once.

use std::collections::HashMap;
use std::path::Path;

use safevlm_data::{DataError, Journal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::LlmError;
use super::picture::MAX_SIDE;
use super::reply::Reply;
use crate::error::EvalError;

/// Characters of a reply that are kept: a verdict has a few dozen.
const KEPT: usize = 2000;
/// Changes when something changes that is not in the key otherwise.
const FORMAT: &str = "safevlm-llm-judge-1";

/// Everything that decides a reply, as one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// Of a request: `picture` are the bytes of its file, `prompt` is filled.
    pub(super) fn new(model: &str, prompt: &str, picture: Option<&[u8]>, max_output_tokens: u32) -> Self {
        let picture = picture.map_or_else(|| "none".to_string(), |bytes| hex(&Sha256::digest(bytes)));
        let parameters = format!("temperature=0 max_tokens={max_output_tokens} side={MAX_SIDE}");
        let mut hash = Sha256::new();
        for part in [FORMAT, model, prompt, &picture, &parameters] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(key))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line of the file: what was said, for those who audit it.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    /// The row's id.
    id: u64,
    model: String,
    /// None where the reply has no verdict.
    verdict: Option<bool>,
    /// Why the reply ended: `stop`, `length`, `content_filter`, ...
    finish_reason: Option<String>,
    reply: String,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

/// Verdicts by the requests that they answer, in memory and in a file.
#[derive(Debug)]
pub(super) struct Cache {
    known: HashMap<Key, Option<bool>>,
    journal: Option<Journal>,
}

impl Cache {
    /// Reads the file, or begins it. Without one, verdicts last as long as the judge.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, EvalError> {
        let mut known = HashMap::new();
        let Some(path) = path else { return Ok(Self { known, journal: None }) };
        let journal = Journal::open(path, &mut |row, line| {
            let bad = |reason| DataError::BadRecord { path: path.to_path_buf(), row, reason };
            let entry: Entry = serde_json::from_str(line)
                .map_err(|e| bad(format!("this is no judgement ({e}); name another file with `--judge-cache`")))?;
            let key = Key::parse(&entry.key)
                .ok_or_else(|| bad("`key` is no SHA-256; name another file with `--judge-cache`".to_string()))?;
            known.insert(key, entry.verdict);
            Ok(())
        });
        match journal {
            Ok(journal) => Ok(Self { known, journal: Some(journal) }),
            Err(DataError::Busy { path }) => Err(LlmError::CacheBusy { path }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The verdict that an earlier reply gave; `Some(None)` where it gave none.
    pub(super) fn get(&self, key: &Key) -> Option<Option<bool>> {
        self.known.get(key).copied()
    }

    /// Keeps a reply. It is on the disk when this returns.
    pub(super) fn put(&mut self, key: Key, id: u64, model: &str, reply: &Reply) -> Result<(), EvalError> {
        let verdict = reply.verdict();
        if let Some(journal) = &mut self.journal {
            journal.append(&[Entry {
                key: hex(&key.0),
                id,
                model: model.to_string(),
                verdict,
                finish_reason: reply.finish_reason.clone(),
                reply: reply.text.chars().take(KEPT).collect(),
                prompt_tokens: reply.tokens.map(|tokens| tokens.prompt),
                completion_tokens: reply.tokens.map(|tokens| tokens.completion),
            }])?;
        }
        self.known.insert(key, verdict);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_decides_is_in_the_key() {
        let key = |model, prompt, picture, tokens| Key::new(model, prompt, picture, tokens);
        let one = key("m", "p", Some(&b"x"[..]), 100);
        assert_eq!(one, key("m", "p", Some(&b"x"[..]), 100));
        for other in [
            key("n", "p", Some(&b"x"[..]), 100),
            key("m", "q", Some(&b"x"[..]), 100),
            key("m", "p", Some(&b"y"[..]), 100),
            key("m", "p", None, 100),
            key("m", "p", Some(&b"x"[..]), 99),
            key("mp", "", Some(&b"x"[..]), 100),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(Key::parse(&hex(&one.0)), Some(one));
        assert_eq!(Key::parse("xyz"), None);
    }
}
