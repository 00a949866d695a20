//! `tokenizer.model` read as transformers' LlamaTokenizer reads it, and files that are none.

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safevlm_text::{SentencePieceError, TextError, TextTokenizer, WireError};
use serde::Deserialize;
use support::write;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Cases {
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
    framed: Vec<Vec<u32>>,
    decoded: Vec<String>,
    sentencepiece: HashMap<usize, Vec<u32>>,
    special: HashMap<String, u32>,
    size: usize,
}

fn goldens() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/spm")
}

/// A model folder with the settings of the golden folder `name`.
fn folder(name: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::copy(goldens().join("tokenizer.model"), dir.path().join("tokenizer.model")).unwrap();
    for file in std::fs::read_dir(goldens().join(name)).unwrap().map(Result::unwrap) {
        if file.file_name() != "cases.json" {
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
    }
    dir
}

#[test]
fn ids_equal_transformers() {
    for name in ["llava", "added", "legacy", "bare"] {
        let tokenizer = TextTokenizer::from_dir(folder(name).path()).unwrap();
        let cases = std::fs::read_to_string(goldens().join(name).join("cases.json")).unwrap();
        let cases: Cases = serde_json::from_str(&cases).unwrap();
        assert!(cases.texts.len() >= 200);
        for (nth, text) in cases.texts.iter().enumerate() {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(ids, cases.ids[nth], "{name}: {text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), cases.decoded[nth], "{name}: {text:?}");
            // A template that begins with `<s>` gets no second one.
            let doubled = name != "bare" && text.starts_with("<s>");
            let framed = if doubled { &cases.ids[nth] } else { &cases.framed[nth] };
            assert_eq!(&tokenizer.encode_prompt(text).unwrap(), framed, "{name}: {text:?}");
        }
        assert_eq!(tokenizer.vocab_size(), cases.size, "{name}");
        for (token, id) in &cases.special {
            assert_eq!(tokenizer.id(token), Some(*id), "{name}: {token}");
            assert!(tokenizer.is_special(*id), "{name}: {token}");
        }
        // transformers makes one leading space of a text's own and the one put before it.
        let led = |nth: &usize| cases.texts[*nth].starts_with([' ', '▁']);
        assert!(cases.sentencepiece.keys().all(led), "{name}: {:?}", cases.sentencepiece);
    }
}

/// One field of a protobuf message.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 1 << 14);
    let mut bytes = vec![number << 3 | 2, value.len() as u8 | 0x80, (value.len() >> 7) as u8];
    bytes.extend(value);
    bytes
}

fn piece(text: &str, kind: u8) -> Vec<u8> {
    field(1, &[field(1, text.as_bytes()), vec![0x15, 0, 0, 0, 0, 0x18, kind]].concat())
}

/// A model with all that is needed and `more`.
fn model(more: &[u8]) -> Vec<u8> {
    let mut file = [piece("<unk>", 2), piece("<s>", 3), piece("</s>", 3)].concat();
    (0..=255u8).for_each(|byte| file.extend(piece(&format!("<0x{byte:02X}>"), 6)));
    file.extend(piece("a", 1));
    // Trainer: BPE; normaliser: identity, spaces kept.
    file.extend(field(2, &[0x18, 2]));
    file.extend(field(3, &[0x20, 0]));
    file.extend(more);
    file
}

fn read(file: &[u8]) -> Result<TextTokenizer, TextError> {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("tokenizer.model"), file).unwrap();
    TextTokenizer::from_dir(dir.path())
}

fn refusal(file: &[u8]) -> SentencePieceError {
    match read(file) {
        Err(TextError::SentencePiece { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn models_with_other_ids_are_refused() {
    let small = read(&model(&[])).unwrap();
    assert_eq!(small.vocab_size(), 260);
    assert_eq!(small.encode("aé").unwrap(), [3 + 0xe2, 3 + 0x96, 3 + 0x81, 259, 3 + 0xc3, 3 + 0xa9]);

    assert_eq!(refusal(&model(&field(2, &[0x18, 1]))), SentencePieceError::ModelType(1));
    assert_eq!(refusal(&model(&field(3, &[0x20, 1]))), SentencePieceError::Normalizer("remove_extra_whitespaces"));
    let charsmap = [field(2, b"map"), vec![0x20, 0]].concat();
    assert_eq!(refusal(&model(&field(3, &charsmap))), SentencePieceError::Normalizer("precompiled_charsmap"));
    assert_eq!(refusal(&model(&piece("a", 1))), SentencePieceError::PieceText(260));
    assert_eq!(refusal(&model(&piece("", 1))), SentencePieceError::PieceText(260));
    assert_eq!(refusal(&model(&piece("b", 9))), SentencePieceError::PieceKind(260, 9));
    assert_eq!(refusal(&model(&piece(&"b".repeat(257), 1))), SentencePieceError::PieceLength(260));
    let gone = piece("<0x41>", 6);
    let at = model(&[]).windows(gone.len()).position(|bytes| bytes == gone).unwrap();
    let file = [&model(&[])[..at], &model(&[])[at + gone.len()..]].concat();
    assert_eq!(refusal(&file), SentencePieceError::ByteFallback(0x41));
    assert_eq!(refusal(&field(1, &field(1, &[0xff]))), SentencePieceError::Wire(WireError::Text(1)));
}

#[test]
fn damaged_files_are_errors() {
    let whole = std::fs::read(goldens().join("tokenizer.model")).unwrap();
    for length in (0..whole.len()).step_by(97) {
        let error = read(&whole[..length]).unwrap_err().to_string();
        assert!(error.contains("tokenizer.model") && error.contains("import the model again"), "{error}");
    }
    // One byte changed anywhere gives a tokenizer or an error, and never a panic.
    for at in (0..whole.len()).step_by(61) {
        for change in [0x01, 0x80, 0xff] {
            let mut file = whole.clone();
            file[at] ^= change;
            if let Ok(tokenizer) = read(&file) {
                tokenizer.encode("The quick brown fox 😀").unwrap();
            }
        }
    }
}

fn message(dir: &Path) -> String {
    TextTokenizer::from_dir(dir).unwrap_err().to_string()
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let dir = folder("legacy");
    write(dir.path(), "added_tokens.json", r#"{"<image>": 500}"#);
    assert!(message(dir.path()).contains("\"<image>\" is not the next"), "{}", message(dir.path()));
    write(dir.path(), "added_tokens.json", r#"{"<image>": "x"}"#);
    assert!(message(dir.path()).contains("added_tokens.json"), "{}", message(dir.path()));
    write(dir.path(), "added_tokens.json", "[]");
    assert!(message(dir.path()).contains("no JSON object"), "{}", message(dir.path()));
    write(dir.path(), "tokenizer_config.json", r#"{"added_tokens_decoder": {"0": {}}}"#);
    assert!(message(dir.path()).contains("no content"), "{}", message(dir.path()));
    // tokenizer.json comes first.
    write(dir.path(), "tokenizer.json", "{");
    assert!(message(dir.path()).contains("tokenizer.json: is no tokenizer"), "{}", message(dir.path()));
}
