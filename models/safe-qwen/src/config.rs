//! `config.json` of a Qwen2.5-VL or SafeQwen2.5-VL folder.

use safevlm_core::fields::Fields;
use safevlm_family::{FamilyError, GuardConfig};
use safevlm_qwen::QwenConfig;
use safevlm_qwen_vision::QwenVisionConfig;
use serde_json::Value;

/// `image_token_id` where the file names none (reference: `Qwen2_5_VLConfig`).
const IMAGE_TOKEN_ID: usize = 151_655;

/// Sizes of all parts.
#[derive(Clone, Debug)]
pub struct SafeQwenConfig {
    /// The vision encoder, with the merger that makes visual tokens of its features.
    pub vision: QwenVisionConfig,
    /// The language model.
    pub text: QwenConfig,
    /// The guard head and its labels; a base model has none.
    pub guard: Option<GuardConfig>,
    /// The id that stands for one visual token.
    pub image_token: u32,
}

impl SafeQwenConfig {
    /// Reads the parsed `config.json`: with the language model's settings in `text_config`, as newer tools write
    /// it, or at the top level, as the published files have them.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type, or asks for something that would silently change the numbers; or if
    /// the parts do not fit.
    pub fn from_hf(config: &Value) -> Result<Self, FamilyError> {
        let fields = Fields::new("config.json", config)?;
        let vision = fields.get("vision_config").ok_or_else(|| fields.wrong("vision_config", "an object"))?;
        let vision_fields = Fields::new("config.json", vision)?;
        let vision = QwenVisionConfig::from_hf(vision)?;
        let text = QwenConfig::from_hf(config)?;
        if vision.out_hidden_size != text.hidden_size {
            let expected = format!("{}, the language model's `hidden_size`", text.hidden_size);
            return Err(vision_fields.wrong("out_hidden_size", expected).into());
        }
        if vision.in_channels != 3 {
            let key = if vision_fields.get("in_channels").is_some() { "in_channels" } else { "in_chans" };
            return Err(vision_fields.wrong(key, "3, as images have red, green and blue").into());
        }
        let guard = GuardConfig::from_hf(config, text.hidden_size)?;
        // Every visual token has a row and a column in its image, and a token of the guard's has none.
        if guard.as_ref().is_some_and(|guard| guard.tokens() > 0) {
            let expected = "false: in Qwen2.5-VL a token behind an image's own has no position";
            return Err(fields.wrong("safety_meta_token", expected).into());
        }
        // Id 0 fills short rows up, and stands where a visual token's embedding goes.
        let image_token = fields.whole("image_token_id", 1..=u32::MAX as usize, IMAGE_TOKEN_ID)? as u32;
        Ok(Self { vision, text, guard, image_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::PUBLISHED;
    use serde_json::json;

    /// Qwen2.5-VL-3B's file, which is flat.
    fn published() -> Value {
        PUBLISHED.iter().find(|size| size.name == "qwen2.5-vl-3b").unwrap().config()
    }

    #[test]
    fn nested_and_flat_files_are_the_same() {
        let flat = published();
        let mut text = flat.clone();
        let mut nested = json!({"model_type": "qwen2_5_vl"});
        for key in ["vision_config", "image_token_id", "tie_word_embeddings"] {
            nested[key] = text.as_object_mut().unwrap().remove(key).unwrap();
        }
        nested["text_config"] = text;
        let read = |config| format!("{:?}", SafeQwenConfig::from_hf(config).unwrap());
        assert_eq!(read(&nested), read(&flat));
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_the_key() {
        let guard = json!(20);
        let cases: [(&str, Value, &str); 9] = [
            ("/vision_config", json!(null), "vision_config"),
            ("/vision_config", json!("tiny"), "the configuration"),
            ("/vision_config/out_hidden_size", json!(3584), "out_hidden_size"),
            ("/vision_config/in_chans", json!(1), "in_chans"),
            ("/vision_config/window_size", json!(14), "window_size"),
            ("/vision_config/out_hidden_size", json!(null), "out_hidden_size"),
            ("/image_token_id", json!(0), "image_token_id"),
            ("/image_token_id", json!("<|image_pad|>"), "image_token_id"),
            ("/rope_scaling/mrope_section", json!([16, 24]), "mrope_section"),
        ];
        let refused = |config: &Value, named: &str| {
            let message = SafeQwenConfig::from_hf(config).unwrap_err().to_string();
            assert!(message.contains(named) && message.contains("take the file from the checkpoint"), "{message}");
        };
        for (place, value, named) in cases {
            let mut config = published();
            *config.pointer_mut(place).unwrap() = value;
            refused(&config, named);
        }
        let mut config = published();
        config["num_safety_categories"] = guard;
        config["safety_meta_token"] = json!(true);
        refused(&config, "safety_meta_token");
        config["safety_meta_token"] = json!(false);
        config["safety_num_hidden_layers"] = json!(2);
        refused(&config, "safety_num_hidden_layers");
        assert!(SafeQwenConfig::from_hf(&json!([])).is_err());
    }
}
