//! Token ids of SmolLM2 for varied strings (xtask/goldens/smollm2_tokenizer.py). Other crates'
//! tests include this file by its path and give it the tokenizer.json of an imported model.

use std::path::Path;

use tokenizers::Tokenizer;

/// The reference's strings and ids.
const GOLDEN: &str = include_str!("../goldens/smollm2_tokenizer.json");

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

/// Demands the reference's ids for every string, and the string back from its ids.
pub(crate) fn check_tokenizer(tokenizer_json: &Path) {
    let tokenizer = Tokenizer::from_file(tokenizer_json).unwrap();
    let cases: Vec<Case> = serde_json::from_str(GOLDEN).unwrap();
    assert!(cases.len() >= 200);
    for Case { text, ids } in &cases {
        let encoding = tokenizer.encode(text.as_str(), false).unwrap();
        assert_eq!(encoding.get_ids(), ids, "{text:?}");
        assert_eq!(&tokenizer.decode(ids, false).unwrap(), text);
    }
}
