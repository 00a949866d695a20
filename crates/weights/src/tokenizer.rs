//! A GGUF's vocabulary as the tokenizer files of a Hugging Face folder.

use serde_json::{Value as Json, json};

use crate::error::WeightsError;
use crate::gguf::{GgufFile, Value};
use crate::tensors::TensorSource;

/// `token_type` of a control token: matched as a whole, never produced by merging.
const CONTROL: i64 = 3;
/// `token_type` of a user-defined token: matched as a whole, kept when decoding.
const USER_DEFINED: i64 = 4;

/// The tokenizer files that a GGUF's metadata amounts to.
#[derive(Debug, Clone)]
pub struct TokenizerFiles {
    /// `tokenizer.json`, for the `tokenizers` crate and its Python original.
    pub tokenizer: Json,
    /// `tokenizer_config.json`, with the chat template if there is one.
    pub config: Json,
    /// `generation_config.json`.
    pub generation: Json,
    /// `chat_template.jinja`.
    pub chat_template: Option<String>,
}

/// Builds the tokenizer files from the metadata of `gguf`.
///
/// Byte-level BPE (`gpt2`) with the pre-tokenizer `smollm` is supported: every digit by itself,
/// then GPT-2's rule, as SmolLM2's published `tokenizer.json` has it
/// (<https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct>) and llama.cpp's
/// `LLAMA_VOCAB_PRE_TYPE_SMOLLM` agrees.
///
/// # Errors
/// When the vocabulary is of another kind, or its parts contradict each other.
pub fn tokenizer_files(gguf: &GgufFile) -> Result<TokenizerFiles, WeightsError> {
    let kind = gguf.text("tokenizer.ggml.model")?;
    let pre = gguf.text("tokenizer.ggml.pre")?;
    if kind != "gpt2" || pre != "smollm" {
        return Err(WeightsError::unsupported(
            gguf.path(),
            format!(
                "its tokenizer is `{kind}` with the pre-tokenizer `{pre}`, and only `gpt2` with `smollm` can be converted; use the folder with tokenizer.json that the model's makers publish"
            ),
        ));
    }
    let tokens = gguf.texts("tokenizer.ggml.tokens")?;
    let chat_template = match gguf.value("tokenizer.chat_template") {
        Some(Value::String(template)) => Some(template.clone()),
        _ => None,
    };
    let special = |key: &str| special_token(gguf, tokens, key);
    let (bos, eos) = (special("tokenizer.ggml.bos_token_id")?, special("tokenizer.ggml.eos_token_id")?);
    let (unknown, pad) = (special("tokenizer.ggml.unknown_token_id")?, special("tokenizer.ggml.padding_token_id")?);
    let mut config = json!({
        "add_bos_token": matches!(gguf.value("tokenizer.ggml.add_bos_token"), Some(Value::Bool(true))),
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "model_max_length": gguf.count("llama.context_length").ok(),
        "tokenizer_class": "PreTrainedTokenizerFast",
    });
    let mut generation = json!({});
    for (role, token) in [("bos", &bos), ("eos", &eos), ("pad", &pad)] {
        if let Some((id, text)) = token {
            config[format!("{role}_token")] = json!(text);
            generation[format!("{role}_token_id")] = json!(id);
        }
    }
    if let Some((_, text)) = &unknown {
        config["unk_token"] = json!(text);
    }
    if let Some(template) = &chat_template {
        config["chat_template"] = json!(template);
    }
    Ok(TokenizerFiles { tokenizer: tokenizer(gguf, tokens)?, config, generation, chat_template })
}

/// `tokenizer.json`.
fn tokenizer(gguf: &GgufFile, tokens: &[String]) -> Result<Json, WeightsError> {
    let bad = |reason: String| WeightsError::malformed(gguf.path(), "GGUF", reason);
    let types = gguf.integers("tokenizer.ggml.token_type")?;
    if types.len() != tokens.len() {
        let (types, tokens) = (types.len(), tokens.len());
        return Err(bad(format!("it has {tokens} tokens and {types} token types")));
    }
    let mut vocabulary = serde_json::Map::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if vocabulary.insert(token.clone(), json!(id)).is_some() {
            return Err(bad(format!("its token `{token}` occurs twice")));
        }
    }
    let mut merges = Vec::new();
    for merge in gguf.texts("tokenizer.ggml.merges")? {
        // Byte-level BPE writes a space as `Ġ`, so the one space separates the two parts.
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(bad(format!("its merge `{merge}` is not a pair")));
        };
        for part in [left, right, &format!("{left}{right}")] {
            if !vocabulary.contains_key(part) {
                return Err(bad(format!("its merge `{merge}` needs the missing `{part}`")));
            }
        }
        merges.push(json!([left, right]));
    }
    let added: Vec<Json> = (0..tokens.len())
        .filter(|id| matches!(types[*id], CONTROL | USER_DEFINED))
        .map(|id| {
            json!({
                "id": id,
                "content": tokens[id],
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": types[id] == CONTROL,
            })
        })
        .collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                { "type": "Digits", "individual_digits": true },
                byte_level(false),
            ],
        },
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        },
    }))
}

fn byte_level(add_prefix_space: bool) -> Json {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": true,
        "use_regex": true,
    })
}

/// Id and text of the special token whose id is kept under `key`, if there is one.
fn special_token(gguf: &GgufFile, tokens: &[String], key: &str) -> Result<Option<(usize, String)>, WeightsError> {
    if gguf.value(key).is_none() {
        return Ok(None);
    }
    let id = gguf.count(key)?;
    match tokens.get(id) {
        Some(token) => Ok(Some((id, token.clone()))),
        None => Err(WeightsError::malformed(
            gguf.path(),
            "GGUF",
            format!("its `{key}` is {id}, and it has {} tokens", tokens.len()),
        )),
    }
}
