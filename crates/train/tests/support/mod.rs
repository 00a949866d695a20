//! A safe-smol small enough to be made and trained by a test.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use safevlm_core::{CLASSES, DeviceSpec};
use safevlm_safe_smol::{SafeSmol, SafeSmolConfig, checkpoint_name};
use safevlm_train::Recipe;
use safevlm_weights::{SaveDtype, save_module};
use serde_json::{Map, Value, json};

/// Ids of the bytes come first, then these, then the image token.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// The image token, for which the embedding table has no row.
pub(crate) const IMAGE: u32 = 256 + SPECIAL.len() as u32;
/// Visual tokens of one picture.
pub(crate) const TOKENS: usize = 4;
/// Width of the vision features.
pub(crate) const FEATURES: usize = 8;

pub(crate) fn flex() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

/// `config.json`, with as many decoder layers as asked for.
pub(crate) fn config(layers: usize) -> Value {
    let stage =
        |expansion, width| json!({ "repeats": 1, "kernel": 3, "stride": 2, "expansion": expansion, "width": width });
    json!({
        "model_type": "safe_smol",
        "image_token_index": IMAGE,
        "vision_config": {
            "stem_width": 4, "stages": [stage(1, 4), stage(2, 6)], "head_width": FEATURES, "num_classes": 0,
            "image_size": 16, "crop_pct": 1.0, "interpolation": "bilinear",
        },
        "text_config": {
            "vocab_size": IMAGE, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": layers,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
            "tie_word_embeddings": true,
        },
        "safety_categories": CLASSES.iter().map(|class| class.name).collect::<Vec<_>>(),
        "num_safety_categories": CLASSES.len(),
    })
}

/// The graph with random weights; `layers` may be 0, which leaves every token by itself.
pub(crate) fn model(layers: usize, device: &Device) -> SafeSmol {
    let mut sizes = SafeSmolConfig::from_hf(&config(layers.max(1))).unwrap();
    sizes.text.num_hidden_layers = layers;
    sizes.init(device)
}

/// One token a byte, as GPT-2 spells bytes.
fn tokenizer() -> Value {
    let mut next = 255u32;
    let alphabet = (0..256u32).filter_map(|b| {
        let printable = matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        next += u32::from(!printable);
        char::from_u32(if printable { b } else { next })
    });
    let vocab = alphabet.map(String::from).chain(SPECIAL.map(String::from));
    let vocab: Map<String, Value> = vocab.enumerate().map(|(id, token)| (token, json!(id))).collect();
    let added = SPECIAL.iter().chain([&safevlm_safe_smol::IMAGE_TOKEN]).enumerate().map(|(nth, content)| {
        json!({ "id": 256 + nth, "content": content, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false })
    });
    let added: Vec<Value> = added.collect();
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [] },
    })
}

/// Writes a whole model folder with random weights.
pub(crate) fn write_model(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let json = |name: &str, value: &Value| std::fs::write(dir.join(name), value.to_string()).unwrap();
    json("config.json", &config(2));
    json("tokenizer.json", &tokenizer());
    json("tokenizer_config.json", &json!({ "eos_token": "<|im_end|>" }));
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    std::fs::write(dir.join("chat_template.jinja"), template).unwrap();
    let device = flex();
    device.seed(5);
    let model = model(2, &device);
    let name = |field: &str| Some(checkpoint_name(field));
    save_module(&dir.join("model.safetensors"), &model, SaveDtype::F32, &BTreeMap::new(), &name).unwrap();
}

/// A recipe with its folder, from which each test changes what it looks at.
pub(crate) const RECIPE: &str = r#"
name = "tiny"
base = "BASE"
output = "OUTPUT"
seed = 3
safety_loss_lambda = 1.0
clip_norm = 1.0
weight_decay = 0.01
warmup = 0.1
final_rate = 0.1
checkpoint_every = 3

[learning_rate]
projector = 1e-2
guard = 1e-2
lora = 1e-2

[lora]
rank = 2
alpha = 4.0
targets = ["q_proj", "down_proj"]

[[phase]]
name = "joint"
stage = "joint"
steps = 6
batch = 2
"#;

/// Reads `text` as a recipe file.
pub(crate) fn recipe(text: &str, overrides: &[&str]) -> Result<Recipe, safevlm_train::TrainError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
    Recipe::read(file.path(), &overrides)
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}
