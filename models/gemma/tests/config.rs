//! Configurations as they are published, key maps, and sizes.

use burn::module::Module;
use burn::tensor::Device;
use safevlm_core::DeviceSpec;
use safevlm_gemma::{GemmaConfig, GemmaProjectorConfig, LayerType, PRESETS, Preset, key_rules, projector_key_rules};
use safevlm_weights::KeyMap;
use serde_json::{Value, json};

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

/// `google/gemma-3-1b-it`, as transformers 4 wrote it.
fn one_b() -> Value {
    json!({
        "architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "attn_logit_softcapping": null, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 106],
        "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 1152, "initializer_range": 0.02, "intermediate_size": 6912, "max_position_embeddings": 32768,
        "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
        "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6, "rope_local_base_freq": 10000,
        "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6,
        "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 262144,
    })
}

/// `google/gemma-3-4b-it`: most of the text part is left to the reference's defaults.
fn four_b() -> Value {
    json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
        "image_token_index": 262144, "mm_tokens_per_image": 256, "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": { "factor": 8.0, "rope_type": "linear" }, "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
        "vision_config": {
            "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model",
            "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": false,
        },
    })
}

/// The text part as transformers 5 writes it.
fn new_rope() -> Value {
    let mut config = four_b();
    let text = config["text_config"].as_object_mut().unwrap();
    text.remove("rope_scaling");
    text.insert(
        "rope_parameters".to_owned(),
        json!({
            "full_attention": { "factor": 8.0, "rope_theta": 1000000.0, "rope_type": "linear" },
            "sliding_attention": { "rope_theta": 10000.0, "rope_type": "default" },
        }),
    );
    text.insert("layer_types".to_owned(), serde_json::to_value(LayerType::pattern(34, 6)).unwrap());
    config
}

#[test]
fn published_configurations_are_the_presets() {
    for (name, config) in [("1b", one_b()), ("4b", four_b()), ("4b", new_rope())] {
        assert_eq!(GemmaConfig::from_hf(&config).unwrap(), GemmaConfig::preset(name).unwrap(), "{name}");
    }
    let four_b = GemmaConfig::preset("4b").unwrap();
    let global: Vec<usize> = (0..34).filter(|nth| four_b.layer_types[*nth] == LayerType::Global).collect();
    assert_eq!(global, [5, 11, 17, 23, 29]);
    assert!(GemmaConfig::preset("2b").unwrap_err().to_string().contains("choose 270m, 1b, 4b, 12b or 27b"));
}

#[test]
fn rotary_settings_of_each_layer_type_are_read() {
    let mut config = new_rope();
    let rope = &mut config["text_config"]["rope_parameters"];
    rope["full_attention"] = json!({ "rope_type": "linear", "factor": 4, "rope_theta": 5e5 });
    rope["sliding_attention"]["rope_theta"] = json!(200);
    let read = GemmaConfig::from_hf(&config).unwrap();
    assert_eq!((read.rope_theta, read.rope_factor, read.rope_local_base_freq), (5e5, 4.0, 200.0));
    let mut config = one_b();
    config["rope_theta"] = json!(5e5);
    config["rope_local_base_freq"] = json!(200);
    config["rope_scaling"] = json!({ "type": "linear", "factor": 4 });
    let read = GemmaConfig::from_hf(&config).unwrap();
    assert_eq!((read.rope_theta, read.rope_factor, read.rope_local_base_freq), (5e5, 4.0, 200.0));
}

#[test]
fn what_would_change_the_numbers_is_refused() {
    let refused = |mut config: Value, part: Option<&str>, key: &str, value: Value| {
        let place = if let Some(part) = part { &mut config[part] } else { &mut config };
        place[key] = value;
        let error = GemmaConfig::from_hf(&config).expect_err(key).to_string();
        assert!(error.contains(&format!("`{key}` is ")) && error.contains("take the file from"), "{error}");
    };
    for (key, value) in [
        ("model_type", json!("gemma2")),
        ("hidden_activation", json!("gelu")),
        ("attention_bias", json!(true)),
        ("use_bidirectional_attention", json!(true)),
        ("attn_logit_softcapping", json!(50.0)),
        ("final_logit_softcapping", json!(0)),
        ("tie_word_embeddings", json!(false)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(255)),
        ("hidden_size", json!(null)),
        ("hidden_size", json!(1u64 << 40)),
        ("num_hidden_layers", json!(1_000_000)),
        ("layer_types", json!(["full_attention"])),
        ("sliding_window", json!(0)),
        ("sliding_window_pattern", json!("6")),
        ("rms_norm_eps", json!(-1.0)),
        ("query_pre_attn_scalar", json!("256")),
        ("rope_theta", json!(0)),
        ("rope_local_base_freq", json!("10000")),
        ("rope_parameters", json!({ "rope_type": "default", "rope_theta": 1e6 })),
    ] {
        refused(one_b(), None, key, value);
    }
    refused(four_b(), None, "tie_word_embeddings", json!(false));
    refused(four_b(), Some("text_config"), "final_logit_softcapping", json!(30.0));

    for (scaling, key) in [
        (json!({ "rope_type": "yarn", "factor": 8.0 }), "rope_type"),
        (json!({ "type": "dynamic", "factor": 8.0 }), "type"),
        (json!({ "rope_type": "linear" }), "factor"),
        (json!({ "rope_type": "linear", "factor": 8.0, "partial_rotary_factor": 0.5 }), "partial_rotary_factor"),
    ] {
        let mut config = four_b();
        config["text_config"]["rope_scaling"] = scaling;
        let error = GemmaConfig::from_hf(&config).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}` is ")), "{error}");
    }
    let mut config = new_rope();
    config["text_config"]["rope_parameters"]["sliding_attention"]["rope_type"] = json!("linear");
    assert!(GemmaConfig::from_hf(&config).unwrap_err().to_string().contains("\"default\" in sliding layers"));
}

#[test]
fn the_projector_is_read_from_the_whole_configuration() {
    let config = GemmaProjectorConfig::from_hf(&four_b(), 2560).unwrap();
    assert_eq!((config.tokens(), config), (256, GemmaProjectorConfig::new(1152, 2560)));
    for (part, key, value) in [
        (None, "vision_config", json!(null)),
        (None, "mm_tokens_per_image", json!(250)),
        (None, "mm_tokens_per_image", json!(225)),
        (Some("vision_config"), "hidden_size", json!(0)),
        (Some("vision_config"), "image_size", json!("896")),
    ] {
        let mut config = four_b();
        let place = if let Some(part) = part { &mut config[part] } else { &mut config };
        place[key] = value;
        let error = GemmaProjectorConfig::from_hf(&config, 2560).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}` is ")), "{error}");
    }
}

#[test]
fn published_sizes_have_the_published_number_of_parameters() {
    let count = |preset: &Preset| preset.config().init(&device()).num_params();
    let text = PRESETS.each_ref().map(count);
    assert_eq!(text, [268_098_176, 999_885_952, 3_880_263_168, 11_766_034_176, 27_009_346_304]);
    // The files of the larger sizes also hold a projector and the SigLIP tower, which all three share.
    let wholes = [4_300_079_472, 12_187_325_040, 27_432_406_640];
    for (preset, whole) in PRESETS[2..].iter().zip(wholes) {
        let projector = GemmaProjectorConfig::new(1152, preset.hidden_size).init(&device()).num_params();
        assert_eq!(whole - count(preset) - projector, 416_866_032, "{}", preset.name);
    }
}

#[test]
fn every_layout_of_names_is_mapped() {
    let map = |rules: Vec<(String, String)>| {
        KeyMap::new(&rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect::<Vec<_>>())
    };
    let keys = map(key_rules("language_model.")).then(&map(projector_key_rules("projector.")));
    for prefix in
        ["language_model.model.", "model.language_model.", "model.language_model.model.", "language_model.", "model."]
    {
        for name in ["embed_tokens.weight", "layers.11.self_attn.q_norm.weight", "norm.weight"] {
            assert_eq!(keys.apply(&format!("{prefix}{name}")), format!("language_model.{name}"));
        }
    }
    for prefix in ["", "model."] {
        let name = format!("{prefix}multi_modal_projector.mm_soft_emb_norm.weight");
        assert_eq!(keys.apply(&name), "projector.mm_soft_emb_norm.weight");
    }
    let vision = "vision_tower.vision_model.encoder.layers.0.layer_norm1.weight";
    for name in [vision, &format!("model.{vision}"), "lm_head.weight"] {
        assert_eq!(keys.apply(name), name);
    }
}
