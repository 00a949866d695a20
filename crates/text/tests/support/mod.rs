//! A byte-level BPE tokenizer small enough to be written by the test itself.

#![allow(dead_code)] // Not every test uses all of it.

use std::path::Path;

use safevlm_text::TextTokenizer;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The special tokens, whose ids follow those of the bytes and merges.
pub(crate) const SPECIAL: [&str; 3] = ["<|im_start|>", "<|im_end|>", "<image>"];

/// GPT-2's printable character for every byte.
fn alphabet() -> Vec<char> {
    let printable = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 255;
    let mut stand_in = || {
        next += 1;
        next
    };
    (0..256).map(|b| if printable(b) { b } else { stand_in() }).filter_map(char::from_u32).collect()
}

/// 256 bytes, and merges that end inside characters: the last byte of `é` with the first of `漢`,
/// the first three bytes of an emoji, and a whole word.
pub(crate) fn tokenizer_json(special: &[&str]) -> Value {
    let alphabet = alphabet();
    let spell = |bytes: &[u8]| bytes.iter().map(|b| alphabet[usize::from(*b)]).collect::<String>();
    let mut vocab: Vec<String> = (0..=255u8).map(|b| spell(&[b])).collect();
    let joins: [(&[u8], &[u8]); 6] =
        [(&[0xa9], &[0xe6]), (&[0xf0], &[0x9f]), (&[0xf0, 0x9f], &[0x98]), (b"S", b"T"), (b"O", b"P"), (b" ", b"w")];
    let mut merges = Vec::new();
    for (left, right) in joins {
        merges.push(json!([spell(left), spell(right)]));
        vocab.push(spell(&[left, right].concat()));
    }
    let added = special.iter().enumerate().map(|(nth, content)| {
        json!({ "id": vocab.len() + nth, "content": content, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false })
    });
    let added: Vec<Value> = added.collect();
    let ids: serde_json::Map<String, Value> =
        vocab.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": ids, "merges": merges },
    })
}

/// The tokenizer, read from a folder as a model's is.
pub(crate) fn tokenizer() -> TextTokenizer {
    tokenizer_with(&SPECIAL)
}

/// The same with other special tokens.
pub(crate) fn tokenizer_with(special: &[&str]) -> TextTokenizer {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "tokenizer.json", &tokenizer_json(special).to_string());
    TextTokenizer::from_dir(dir.path()).unwrap()
}

/// Writes one file of a model folder.
pub(crate) fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}
