//! The guard's keys of a `config.json`.

use safevlm_vgm::VgmConfig;
use serde_json::{Value, json};

fn message(config: &Value) -> String {
    VgmConfig::from_hf(config, 64).unwrap_err().to_string()
}

#[test]
fn published_keys_are_read() {
    let config = json!({
        "safety_categories": ["safe", "a", "b"], "num_safety_categories": 3,
        "safety_head_hidden_scale": 0.25, "safety_num_hidden_layers": 1,
    });
    let head = VgmConfig::from_hf(&config, 64).unwrap().unwrap();
    assert_eq!((head.hidden_size, head.num_safety_categories, head.inner()), (64, 3, 16));

    // Either key alone tells that there is a head, and the other values have defaults.
    let counted = VgmConfig::from_hf(&json!({ "num_safety_categories": 20 }), 64).unwrap().unwrap();
    assert_eq!(counted, VgmConfig::new(64));
    let named = VgmConfig::from_hf(&json!({ "safety_categories": ["safe", "unsafe"] }), 64).unwrap().unwrap();
    assert_eq!(named.num_safety_categories, 2);
}

#[test]
fn a_base_model_has_no_guard() {
    for config in [json!({}), json!({ "safety_categories": null, "num_safety_categories": null })] {
        assert_eq!(VgmConfig::from_hf(&config, 64).unwrap(), None, "{config}");
    }
}

#[test]
fn wrong_values_are_named() {
    let good = json!({
        "safety_categories": ["safe", "a", "b"], "num_safety_categories": 3,
        "safety_head_hidden_scale": 0.5, "safety_num_hidden_layers": 1,
    });
    for (key, value) in [
        ("num_safety_categories", json!("3")),
        ("num_safety_categories", json!(3.5)),
        ("num_safety_categories", json!(-3)),
        ("num_safety_categories", json!(4)),
        ("safety_categories", json!("safe")),
        ("safety_categories", json!({ "safe": 0 })),
        ("safety_num_hidden_layers", json!(2)),
        ("safety_num_hidden_layers", json!(0)),
        ("safety_num_hidden_layers", json!([1])),
        ("safety_head_hidden_scale", json!("half")),
        ("safety_head_hidden_scale", json!(0.0)),
        ("safety_head_hidden_scale", json!(-0.5)),
        ("safety_head_hidden_scale", json!(1e9)),
        // A hidden layer without a single unit.
        ("safety_head_hidden_scale", json!(1e-6)),
    ] {
        let mut config = good.clone();
        config[key] = value.clone();
        let message = message(&config);
        assert!(message.contains(&format!("`{key}` is {value}")), "{key} = {value}: {message}");
        assert!(message.contains("take the file from the checkpoint's own folder"), "{message}");
    }
    assert!(message(&json!({ "num_safety_categories": 1 })).contains("`num_safety_categories` is 1"));
    assert!(message(&json!({ "num_safety_categories": 100_000 })).contains("`num_safety_categories`"));
    assert!(message(&json!({ "safety_categories": [] })).contains("`num_safety_categories` is missing"));
}
