//! `config.json` of a LLaVA-1.5 or SafeLLaVA folder.

use safevlm_clip::{ClipVisionConfig, FeatureSelection};
use safevlm_core::fields::{FieldError, Fields};
use safevlm_family::{FamilyError, GuardConfig};
use safevlm_llama::LlamaConfig;
use serde_json::{Map, Value, json};

/// What `model_type` says in files of this family: transformers' name, which the original code had first
/// too, its later one, and those that SafeLLaVA's remote code may have, whose configuration nobody has
/// written down.
pub const MODEL_TYPES: [&str; 6] =
    ["llava", "llava_llama", "safellava", "safellava_llama", "safe_llava", "safe_llava_llama"];

/// Sizes of all parts.
#[derive(Clone, Debug)]
pub struct SafeLlavaConfig {
    /// The vision encoder, with the layers that features are taken from.
    pub vision: ClipVisionConfig,
    /// The language model.
    pub text: LlamaConfig,
    /// The guard head and its labels; a base model has none.
    pub guard: Option<GuardConfig>,
    /// The id that stands for one visual token; the original code's folders have none.
    pub image_token: Option<u32>,
    /// Whether images are padded to squares, where `image_aspect_ratio` says so.
    pub pad_to_square: Option<bool>,
}

/// Who laid out the folder, which decides how prompts are written and cut into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// transformers: `<image>` is a token of the vocabulary.
    Transformers,
    /// The original LLaVA code, and SafeLLaVA's: `<image>` is cut out of the text, whose pieces are
    /// tokenized one by one.
    Original,
}

/// What transformers' `LlamaConfig` takes where a `text_config` is silent, as LLaVA's is.
fn llama_defaults() -> Map<String, Value> {
    let defaults = json!({
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
    });
    defaults.as_object().cloned().unwrap_or_default()
}

impl SafeLlavaConfig {
    /// Reads the parsed `config.json`: transformers' layout with `vision_config` and `text_config`, or the
    /// original code's with the language model's keys beside `mm_vision_tower`.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type, or asks for something that would silently change the
    /// numbers.
    pub fn from_hf(config: &Value) -> Result<Self, FamilyError> {
        let fields = Fields::new("config.json", config)?;
        refuse_other_models(&fields)?;
        let text = text_config(&fields, config)?;
        let vision = vision_config(&fields)?;
        let vision = vision.select(FeatureSelection::from_hf(config)?).map_err(FamilyError::config)?;
        Ok(Self {
            vision,
            guard: GuardConfig::from_hf(config, text.hidden_size)?,
            text,
            image_token: image_token(&fields)?,
            pad_to_square: pad_to_square(&fields)?,
        })
    }

    /// Who laid out the folder.
    pub fn layout(&self) -> Layout {
        if self.image_token.is_some() { Layout::Transformers } else { Layout::Original }
    }

    /// Visual tokens that the encoder gives of one picture: 576 in the published sizes.
    pub fn visual_tokens(&self) -> usize {
        self.vision.tokens()
    }

    /// Placeholders of one picture in a prompt: its visual tokens, and the guard's own.
    pub fn tokens_per_image(&self) -> usize {
        self.visual_tokens() + self.guard.as_ref().map_or(0, GuardConfig::tokens)
    }
}

/// Refuses what other members of the family have and this graph has not.
fn refuse_other_models(fields: &Fields<'_>) -> Result<(), FieldError> {
    if fields.text("mm_projector_type", "mlp2x_gelu")? != "mlp2x_gelu" {
        return Err(fields.wrong("mm_projector_type", "\"mlp2x_gelu\", two linear layers and a GELU"));
    }
    if fields.text("projector_hidden_act", "gelu")? != "gelu" {
        return Err(fields.wrong("projector_hidden_act", "\"gelu\""));
    }
    if !fields.flag("multimodal_projector_bias", true)? {
        return Err(fields.wrong("multimodal_projector_bias", "true"));
    }
    if fields.flag("mm_use_im_start_end", false)? {
        return Err(fields.wrong("mm_use_im_start_end", "false: LLaVA-1.5 puts no tokens around an image"));
    }
    Ok(())
}

/// The encoder by its sizes, or by its name on the hub or the folder of that name.
fn vision_config(fields: &Fields<'_>) -> Result<ClipVisionConfig, FamilyError> {
    let name = fields.text("mm_vision_tower", "")?;
    match (fields.get("vision_config"), name.trim_end_matches('/').rsplit('/').next()) {
        (Some(vision), _) => ClipVisionConfig::from_hf(vision).map_err(FamilyError::config),
        (None, Some(name)) if !name.is_empty() => ClipVisionConfig::preset(name).map_err(FamilyError::config),
        _ => Err(fields.wrong("vision_config", "an object, or `mm_vision_tower` instead of it").into()),
    }
}

/// The language model's keys, which the original code has outside. Whether its head is the embedding table,
/// newer files say outside, older ones inside.
fn text_config(fields: &Fields<'_>, config: &Value) -> Result<LlamaConfig, FamilyError> {
    let given = fields.get("text_config").unwrap_or(config);
    Fields::new("config.json: text_config", given)?;
    let mut text = llama_defaults();
    text.extend(given.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    if let Some(tied) = fields.get("tie_word_embeddings") {
        text.insert("tie_word_embeddings".to_owned(), tied.clone());
    }
    LlamaConfig::from_hf(&Value::Object(text)).map_err(FamilyError::config)
}

fn image_token(fields: &Fields<'_>) -> Result<Option<u32>, FieldError> {
    let key = ["image_token_index", "image_token_id"].into_iter().find(|key| fields.get(key).is_some());
    key.map(|key| Ok(fields.whole(key, 0..=u32::MAX as usize, None)? as u32)).transpose()
}

/// `image_aspect_ratio` of the original code; `square` is its word for silence.
fn pad_to_square(fields: &Fields<'_>) -> Result<Option<bool>, FieldError> {
    if fields.get("image_aspect_ratio").is_none() {
        return Ok(None);
    }
    match fields.text("image_aspect_ratio", "")? {
        "pad" => Ok(Some(true)),
        "square" => Ok(Some(false)),
        _ => Err(fields.wrong("image_aspect_ratio", "\"pad\" or \"square\", which LLaVA-1.5 can do")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original() -> Value {
        json!({
            "model_type": "llava_llama", "mm_vision_tower": "openai/clip-vit-large-patch14-336", "vocab_size": 32_000,
            "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 32, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
            "rope_scaling": null, "image_aspect_ratio": "pad", "mm_projector_type": "mlp2x_gelu",
            "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch", "mm_use_im_start_end": false,
            "mm_use_im_patch_token": false, "num_safety_categories": 20, "safety_head_hidden_scale": 0.5,
            "safety_num_hidden_layers": 1
        })
    }

    #[test]
    fn both_layouts_are_read() {
        // As llava-hf/llava-1.5-7b-hf has it: most of the language model's sizes are left to defaults.
        let new = SafeLlavaConfig::from_hf(&json!({
            "model_type": "llava", "image_token_index": 32000, "projector_hidden_act": "gelu",
            "text_config": {"model_type": "llama", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
                "vocab_size": 32064},
            "vision_config": {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
                "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14},
            "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "tie_word_embeddings": false
        }))
        .unwrap();
        let old = SafeLlavaConfig::from_hf(&original()).unwrap();
        assert_eq!(new.vision, old.vision);
        assert_eq!((new.text.vocab_size, new.image_token, new.layout()), (32_064, Some(32_000), Layout::Transformers));
        assert_eq!((old.text.vocab_size, old.image_token, old.layout()), (32_000, None, Layout::Original));
        assert_eq!((new.text.hidden_size, new.text.num_hidden_layers), (old.text.hidden_size, 32));
        assert_eq!((new.pad_to_square, old.pad_to_square), (None, Some(true)));
        assert!(new.guard.is_none() && old.guard.is_some());
        assert_eq!((old.visual_tokens(), old.tokens_per_image()), (576, 576));
    }

    #[test]
    fn an_encoder_is_found_by_its_folder_too() {
        for tower in ["./clip-vit-large-patch14-336", "/models/openai/clip-vit-large-patch14-336/"] {
            let mut config = original();
            config["mm_vision_tower"] = json!(tower);
            assert_eq!(SafeLlavaConfig::from_hf(&config).unwrap().visual_tokens(), 576, "{tower}");
        }
    }

    #[test]
    fn the_head_is_tied_where_either_part_says_so() {
        let mut config = original();
        let tied = |config: &Value| SafeLlavaConfig::from_hf(config).unwrap().text.tie_word_embeddings;
        assert!(!tied(&config));
        config["text_config"] = json!({"tie_word_embeddings": true});
        assert!(tied(&config));
        config["tie_word_embeddings"] = json!(false);
        assert!(!tied(&config));
        config["tie_word_embeddings"] = json!(true);
        assert!(tied(&config));
    }

    #[test]
    fn a_meta_token_is_one_token_more() {
        let mut config = original();
        config["safety_meta_token"] = json!(true);
        let config = SafeLlavaConfig::from_hf(&config).unwrap();
        assert_eq!((config.visual_tokens(), config.tokens_per_image()), (576, 577));
    }

    #[test]
    fn what_would_change_the_numbers_silently_is_refused() {
        for (key, value) in [
            ("mm_projector_type", json!("linear")),
            ("projector_hidden_act", json!("relu")),
            ("multimodal_projector_bias", json!(false)),
            ("mm_use_im_start_end", json!(true)),
            ("image_aspect_ratio", json!("anyres")),
            ("image_aspect_ratio", json!(1)),
            ("vision_feature_layer", json!(99)),
            ("mm_vision_select_feature", json!("cls")),
            ("mm_vision_tower", json!("openai/clip-vit-huge")),
            ("mm_vision_tower", json!(336)),
            ("vision_config", json!({"model_type": "siglip_vision_model"})),
            ("text_config", json!("llama")),
            ("image_token_index", json!(-200)),
            ("image_token_id", json!("<image>")),
            ("hidden_size", json!(0)),
            ("tie_word_embeddings", json!("no")),
            ("num_safety_categories", json!(1)),
            ("safety_categories", json!(["safe"])),
        ] {
            let mut config = original();
            config[key] = value.clone();
            assert!(SafeLlavaConfig::from_hf(&config).is_err(), "{key}: {value}");
        }
        for nothing in [json!({}), json!([]), json!(null)] {
            assert!(SafeLlavaConfig::from_hf(&nothing).is_err(), "{nothing}");
        }
    }
}
