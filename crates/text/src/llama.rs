//! The tokenizer that transformers makes of a Llama checkpoint's `tokenizer.model`.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::Replace;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::error::{TextError, read_json, read_limited_bytes};
use crate::sentencepiece::{PieceKind, SentencePieceModel};

/// Larger than any published `tokenizer.model` (Gemma 3's has 4.7 MB).
const MODEL_LIMIT: u64 = 16 << 20;
const CONFIG_LIMIT: u64 = 4 << 20;
/// More added tokens than any published tokenizer has.
const ADDED_LIMIT: usize = 1 << 16;
/// The named special tokens, with the defaults of the Llama tokenizer.
const NAMED: [(&str, Option<&str>); 7] = [
    ("bos_token", Some("<s>")),
    ("eos_token", Some("</s>")),
    ("unk_token", Some("<unk>")),
    ("sep_token", None),
    ("pad_token", None),
    ("cls_token", None),
    ("mask_token", None),
];

/// Reads `tokenizer.model` and what stands about it in `tokenizer_config.json`, `added_tokens.json`
/// and `special_tokens_map.json`.
///
/// # Errors
///
/// If a file is damaged, or a token would get another id than the files say.
pub(crate) fn from_dir(dir: &Path) -> Result<Tokenizer, TextError> {
    let path = dir.join("tokenizer.model");
    let model = SentencePieceModel::parse(&read_limited_bytes(&path, MODEL_LIMIT)?)
        .map_err(|source| TextError::SentencePiece { path: path.clone(), source })?;
    let settings = Settings::from_dir(dir)?;
    build(&model, &settings).map_err(|reason| TextError::Tokenizer { path, reason })
}

/// A token beside the model, and the id that the files give it.
struct Added {
    token: AddedToken,
    id: Option<u32>,
}

struct Settings {
    /// Tokens with ids first, in the order of their ids.
    added: Vec<Added>,
    bos: Option<String>,
    eos: Option<String>,
    add_bos: bool,
    add_eos: bool,
    prefix_space: bool,
    legacy: bool,
}

impl Settings {
    fn from_dir(dir: &Path) -> Result<Self, TextError> {
        let config_path = dir.join("tokenizer_config.json");
        let bad = |path: &Path, reason: &str| TextError::Tokenizer { path: path.to_owned(), reason: reason.to_owned() };
        let mut config = object(&config_path)?;
        let mut added: Vec<Added> = Vec::new();
        if let Some(decoder) = config.get("added_tokens_decoder") {
            let decoder = decoder.as_object().ok_or_else(|| bad(&config_path, "added_tokens_decoder is no object"))?;
            for (id, token) in decoder {
                let id = id.parse().map_err(|_| bad(&config_path, "an id of added_tokens_decoder is no number"))?;
                let token = added_token(token, false)
                    .ok_or_else(|| bad(&config_path, "a token of added_tokens_decoder has no content"))?;
                added.push(Added { token, id: Some(id) });
            }
        } else {
            // Older checkpoints say it in two more files.
            for (key, value) in object(&dir.join("special_tokens_map.json"))? {
                config.insert(key, value);
            }
            let path = dir.join("added_tokens.json");
            let special = special_tokens(&config);
            for (content, id) in object(&path)? {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                let id = id.ok_or_else(|| bad(&path, "an id is no number"))?;
                let special = special.iter().any(|token| token.content == content);
                let token = AddedToken::from(content, special).normalized(!special);
                added.push(Added { token, id: Some(id) });
            }
        }
        added.sort_by_key(|added| added.id);
        for token in special_tokens(&config) {
            match added.iter_mut().find(|known| known.token.content == token.content) {
                Some(known) => known.token.special = true,
                None => added.push(Added { token, id: None }),
            }
        }
        if added.len() > ADDED_LIMIT {
            return Err(bad(&config_path, "it has more added tokens than any real tokenizer"));
        }
        let flag = |key: &str, default| config.get(key).and_then(Value::as_bool).unwrap_or(default);
        Ok(Self {
            bos: named_token(&config, 0).map(|token| token.content),
            eos: named_token(&config, 1).map(|token| token.content),
            add_bos: flag("add_bos_token", true),
            add_eos: flag("add_eos_token", false),
            prefix_space: flag("add_prefix_space", true),
            legacy: flag("legacy", false),
            added,
        })
    }
}

/// A JSON object, empty where there is no file.
fn object(path: &Path) -> Result<Map<String, Value>, TextError> {
    match path.exists() {
        false => Ok(Map::new()),
        true => match read_json(path, CONFIG_LIMIT)? {
            Value::Object(map) => Ok(map),
            _ => Err(TextError::Tokenizer { path: path.to_owned(), reason: "it is no JSON object".to_owned() }),
        },
    }
}

/// A token as configurations spell it: its text alone, or an object.
fn added_token(value: &Value, special: bool) -> Option<AddedToken> {
    let flag = |key: &str, default| value.get(key).and_then(Value::as_bool).unwrap_or(default);
    let special = special || flag("special", false);
    let content = value.as_str().or_else(|| value.get("content").and_then(Value::as_str))?;
    let token = AddedToken::from(content, special)
        .single_word(flag("single_word", false))
        .lstrip(flag("lstrip", false))
        .rstrip(flag("rstrip", false))
        .normalized(flag("normalized", !special));
    (!content.is_empty()).then_some(token)
}

/// The `nth` of [`NAMED`]; `null` means that there is none.
fn named_token(config: &Map<String, Value>, nth: usize) -> Option<AddedToken> {
    let (key, default) = NAMED[nth];
    match config.get(key) {
        Some(value) => added_token(value, true),
        None => default.map(|content| AddedToken::from(content, true)),
    }
}

fn special_tokens(config: &Map<String, Value>) -> Vec<AddedToken> {
    let named = (0..NAMED.len()).filter_map(|nth| named_token(config, nth));
    let more = ["additional_special_tokens", "extra_special_tokens"];
    let more = more.iter().filter_map(|key| config.get(*key).and_then(Value::as_array)).flatten();
    named.chain(more.filter_map(|token| added_token(token, true))).collect()
}

fn build(model: &SentencePieceModel, settings: &Settings) -> Result<Tokenizer, String> {
    let text = |e: tokenizers::Error| e.to_string();
    let vocab = (0..).zip(&model.pieces).map(|(id, piece)| (piece.text.clone(), id));
    let vocab: Vocab = vocab.collect();
    let bpe = BPE::builder().vocab_and_merges(vocab, model.merges()).fuse_unk(true).byte_fallback(true).build();
    let mut tokenizer = Tokenizer::new(bpe.map_err(text)?);

    // Legacy: a space before every stretch of text between special tokens, else before the first only.
    let scheme = match (settings.prefix_space, settings.legacy) {
        (false, _) => PrependScheme::Never,
        (true, true) => PrependScheme::Always,
        (true, false) => PrependScheme::First,
    };
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', scheme, false)));
    let mut decoders: Vec<DecoderWrapper> =
        vec![Replace::new("▁", " ").map_err(text)?.into(), ByteFallback::new().into(), Fuse::new().into()];
    if settings.prefix_space {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(Sequence::new(decoders)));

    for added in &settings.added {
        tokenizer.add_tokens(std::slice::from_ref(&added.token));
        let id = tokenizer.token_to_id(&added.token.content);
        if added.id.is_some() && added.id != id {
            return Err(format!("its added token {:?} is not the next after the others", added.token.content));
        }
    }
    for piece in model.pieces.iter().filter(|p| matches!(p.kind, PieceKind::Control | PieceKind::UserDefined)) {
        if !settings.added.iter().any(|added| added.token.content == piece.text) {
            let token = AddedToken::from(piece.text.as_str(), piece.kind == PieceKind::Control).normalized(false);
            tokenizer.add_tokens(&[token]);
        }
    }
    let begin = settings.bos.as_deref().filter(|_| settings.add_bos);
    let end = settings.eos.as_deref().filter(|_| settings.add_eos);
    if begin.is_some() || end.is_some() {
        let mut frame = vec![];
        frame.extend(begin);
        frame.push("$A");
        frame.extend(end);
        let ids = begin
            .iter()
            .chain(&end)
            .filter_map(|token| tokenizer.token_to_id(token).map(|id| ((*token).to_owned(), id)));
        let processor = TemplateProcessing::builder()
            .try_single(frame)
            .map_err(|e| e.to_string())?
            .special_tokens(ids.collect::<Vec<_>>())
            .build()
            .map_err(|e| e.to_string())?;
        tokenizer.with_post_processor(Some(processor));
    }
    Ok(tokenizer)
}
