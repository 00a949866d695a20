//! What `config.json` may say.

use safevlm_family::Family;
use safevlm_nn::GuardInput;
use safevlm_safe_gem::{PUBLISHED, Processor};
use serde_json::{Value, json};

fn published() -> Value {
    PUBLISHED[0].config()
}

#[test]
fn transformers_5_names_and_defaults_are_read() {
    let mut config = published();
    let object = config.as_object_mut().unwrap();
    for key in ["image_token_index", "boi_token_index", "eoi_token_index", "mm_tokens_per_image"] {
        object.remove(key);
    }
    let read = Processor::config(&config).unwrap();
    assert_eq!((read.image_token, read.tokens_per_image()), (262_144, 256));
    config["image_token_id"] = json!(77);
    assert_eq!(Processor::config(&config).unwrap().image_token, 77);
}

#[test]
fn the_guards_input_is_a_setting() {
    let mut config = published();
    let input = |config: &Value| Processor::config(config).unwrap().guard.unwrap().head.guard_input;
    assert_eq!(input(&config), GuardInput::HiddenStates);
    config["guard_input"] = json!("projector");
    assert_eq!(input(&config), GuardInput::Projector);
    config["guard_input"] = json!("hidden_states");
    config["safety_meta_token"] = json!(true);
    assert_eq!(Processor::config(&config).unwrap().tokens_per_image(), 257);
}

#[test]
fn errors_name_the_key() {
    let cases: [(&str, &str, Value, &str); 12] = [
        ("", "vision_config", Value::Null, "vision_config"),
        ("", "text_config", Value::Null, "text_config"),
        ("", "mm_tokens_per_image", json!(255), "mm_tokens_per_image"),
        ("", "mm_tokens_per_image", json!(49), "mm_tokens_per_image"),
        ("", "image_token_index", json!(-1), "image_token_index"),
        ("", "tie_word_embeddings", json!(false), "tie_word_embeddings"),
        ("", "safety_num_hidden_layers", json!(2), "safety_num_hidden_layers"),
        ("", "num_safety_categories", json!(19), "num_safety_categories"),
        ("vision_config", "image_size", json!(900), "image_size"),
        ("vision_config", "model_type", json!("clip_vision_model"), "model_type"),
        ("text_config", "rope_scaling", json!({"rope_type": "yarn", "factor": 8}), "rope_type"),
        ("text_config", "final_logit_softcapping", json!(30), "final_logit_softcapping"),
    ];
    for (part, key, value, named) in cases {
        let mut config = published();
        let place = if part.is_empty() { &mut config } else { &mut config[part] };
        place[key] = value;
        let message = Processor::config(&config).unwrap_err().to_string();
        assert!(message.contains(&format!("`{named}`")), "{key}: {message}");
    }
    assert!(Processor::config(&json!([1])).unwrap_err().to_string().contains("an object"));
}
