//! A tiny Llama GGUF back into its checkpoint (xtask/goldens/gguf_tiny.py), and its tokenizer.

use safevlm_weights::{LlamaGguf, SafetensorsDir, TensorSource, WeightsError, tokenizer_files};
use tokenizers::Tokenizer;

use crate::{file, golden};

#[test]
fn names_order_and_values_are_those_of_the_original_checkpoint() {
    let llama = LlamaGguf::open(&golden("tiny_llama.gguf")).unwrap();
    let original = SafetensorsDir::open(&golden("tiny_llama.safetensors")).unwrap();
    assert_eq!(llama.names(), original.names());
    for name in original.names() {
        let shape = |source: &dyn TensorSource| source.info(&name).map(|info| info.shape);
        assert_eq!(shape(&llama), shape(&original), "{name}");
        assert_eq!(llama.read_f32(&name).unwrap(), original.read_f32(&name).unwrap(), "{name}");
    }
    assert!(llama.info("lm_head.weight").is_none());
    assert!(matches!(llama.read_f32("lm_head.weight"), Err(WeightsError::NoTensor { .. })));
}

#[test]
fn the_configuration_has_every_size() {
    let config = LlamaGguf::open(&golden("tiny_llama.gguf")).unwrap().config().unwrap();
    for (key, value) in [
        ("hidden_size", 32),
        ("intermediate_size", 64),
        ("num_hidden_layers", 2),
        ("num_attention_heads", 4),
        ("num_key_value_heads", 2),
        ("head_dim", 8),
        ("max_position_embeddings", 128),
        ("vocab_size", 265),
        ("bos_token_id", 1),
        ("eos_token_id", 2),
        ("pad_token_id", 2),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    assert_eq!(config["model_type"], "llama");
    assert_eq!(config["rms_norm_eps"], 1e-5);
    assert_eq!(config["rope_theta"], 100_000.0);
    assert_eq!(config["tie_word_embeddings"], true);
}

#[test]
fn the_tokenizer_splits_digits_and_keeps_control_tokens_whole() {
    let llama = LlamaGguf::open(&golden("tiny_llama.gguf")).unwrap();
    let files = tokenizer_files(llama.gguf()).unwrap();
    let tokenizer: Tokenizer = files.tokenizer.to_string().parse().unwrap();
    let encoding = tokenizer.encode("<|im_start|>the cat  12<|im_end|>", false).unwrap();
    // Two spaces before digits are one token: the digits were split off first.
    assert_eq!(encoding.get_tokens(), ["<|im_start|>", "t", "he", "Ġ", "cat", "ĠĠ", "1", "2", "<|im_end|>"]);
    let text = tokenizer.decode(encoding.get_ids(), false).unwrap();
    assert_eq!(text, "<|im_start|>the cat  12<|im_end|>");
    assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "the cat  12");

    assert_eq!(files.config["eos_token"], "<|im_end|>");
    assert_eq!(files.config["model_max_length"], 128);
    assert_eq!(files.generation["eos_token_id"], 2);
    assert!(files.chat_template.unwrap().contains("<|im_start|>"));
}

/// The tiny GGUF with every `from` replaced by `to` of the same length.
fn altered(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(golden("tiny_llama.gguf")).unwrap();
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|i| bytes[*i..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn what_is_not_a_plain_llama_is_refused_with_the_reason() {
    let number = |key: &str, value: u32| [key.as_bytes(), &4u32.to_le_bytes(), &value.to_le_bytes()].concat();
    let count = |key, from, to| altered(&number(key, from), &number(key, to));
    for (bytes, part) in [
        (altered(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0gemma"), "architecture is `gemma`"),
        (count("llama.block_count", 2, 3), "no tensor `blk.2.attn_norm.weight`"),
        (count("llama.block_count", 2, 1), "and 1 layers"),
        (count("llama.block_count", 2, u32::MAX), "no tensor `blk.2."),
        (count("llama.feed_forward_length", 64, 65), "should be"),
        (count("llama.attention.head_count", 4, 0), "cannot be"),
        (count("llama.attention.head_count", 4, 3), "cannot be"),
        (count("llama.attention.head_count_kv", 2, 0), "cannot be"),
        (count("llama.rope.dimension_count", 8, 4), "rotates 4 of 8"),
        (altered(b"blk.1.attn_q.weight", b"blk.1.attn_x.weight"), "`blk.1.attn_x.weight`"),
        (altered(b"blk.1.attn_q.weight", b"blk.01.att_q.weight"), "`blk.01.att_q.weight`"),
    ] {
        let (_dir, path) = file("other.gguf", &bytes);
        let error = LlamaGguf::open(&path).expect_err(part);
        assert!(error.is_bad_input());
        assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
    }
}

#[test]
fn a_vocabulary_that_contradicts_itself_is_refused() {
    let id = |value: u32| [b"bos_token_id".as_slice(), &4u32.to_le_bytes(), &value.to_le_bytes()].concat();
    for (bytes, part) in [
        (altered(b"smollm", b"qwen22"), "pre-tokenizer `qwen22`"),
        (altered(&id(1), &id(9999)), "bos_token_id` is 9999"),
        (altered("Ġ t".as_bytes(), "Ġ \u{1}".as_bytes()), "needs the missing"),
        (altered(b"c a", b"cxa"), "not a pair"),
        (altered(b"\x02\0\0\0\0\0\0\0ca", b"\x02\0\0\0\0\0\0\0he"), "occurs twice"),
    ] {
        let (_dir, path) = file("tokenizer.gguf", &bytes);
        let llama = LlamaGguf::open(&path).unwrap();
        let error = tokenizer_files(llama.gguf()).expect_err(part);
        assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
    }
}
