//! `config.json` of a LLaVA-1.5 or SafeLLaVA folder, and the published sizes.

use safevlm_clip::{ClipVisionConfig, FeatureSelection};
use safevlm_core::fields::Fields;
use safevlm_core::taxonomy::Taxonomy;
use safevlm_llama::LlamaConfig;
use safevlm_vgm::VgmConfig;
use serde_json::{Map, Value, json};

use crate::error::SafeLlavaError;

/// Sizes of all parts.
#[derive(Clone, Debug)]
pub struct SafeLlavaConfig {
    /// The vision encoder, with the layer that features are taken from.
    pub vision: ClipVisionConfig,
    /// The language model.
    pub text: LlamaConfig,
    /// The guard head; a base model has none.
    pub guard: Option<VgmConfig>,
    /// The guard's labels, in the order of its logits.
    pub taxonomy: Taxonomy,
    /// The id that stands for one visual token; the original code's folders have none.
    pub image_token: Option<u32>,
}

/// One published size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Size of the language model, as in the model's name.
    pub name: &'static str,
    /// Width of the language model.
    pub hidden_size: usize,
    /// Width inside its feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of its layers.
    pub layers: usize,
    /// Number of its heads.
    pub heads: usize,
}

/// SafeLLaVA-7B and -13B: LLaVA-1.5 (arXiv 2310.03744) and a guard head.
pub const PRESETS: [Preset; 2] = [
    Preset { name: "7b", hidden_size: 4096, intermediate_size: 11_008, layers: 32, heads: 32 },
    Preset { name: "13b", hidden_size: 5120, intermediate_size: 13_824, layers: 40, heads: 40 },
];

/// What transformers' `LlamaConfig` takes where a `text_config` is silent, as LLaVA's is.
fn llama_defaults() -> Map<String, Value> {
    let defaults = json!({
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
    });
    defaults.as_object().cloned().unwrap_or_default()
}

impl Preset {
    /// The preset in full, as the original code lays a folder out.
    ///
    /// # Errors
    ///
    /// Never for a published size.
    pub fn config(&self) -> Result<SafeLlavaConfig, SafeLlavaError> {
        SafeLlavaConfig::from_hf(&json!({
            "model_type": "llava", "mm_vision_tower": "openai/clip-vit-large-patch14-336", "vocab_size": 32_000,
            "hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "num_safety_categories": 20,
        }))
    }
}

impl SafeLlavaConfig {
    /// The published size `name`: `7b` or `13b`.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn preset(name: &str) -> Result<Self, SafeLlavaError> {
        match PRESETS.iter().find(|preset| preset.name == name) {
            Some(preset) => preset.config(),
            None => Err(SafeLlavaError::UnknownName {
                name: name.to_owned(),
                names: PRESETS.map(|preset| preset.name).join(", "),
            }),
        }
    }

    /// Reads the parsed `config.json`: transformers' layout with `vision_config` and `text_config`, or the
    /// original code's with the language model's keys beside `mm_vision_tower`.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type, or asks for something that would silently change the
    /// numbers.
    pub fn from_hf(config: &Value) -> Result<Self, SafeLlavaError> {
        let fields = Fields::new("config.json", config)?;
        let vision = match (fields.get("vision_config"), fields.get("mm_vision_tower")) {
            (Some(vision), _) => ClipVisionConfig::from_hf(vision)?,
            (None, Some(_)) => ClipVisionConfig::preset(fields.text("mm_vision_tower", "")?)?,
            (None, None) => return Err(fields.wrong("vision_config", "an object").into()),
        };
        let mut text = llama_defaults();
        let given = fields.get("text_config").unwrap_or(config);
        text.extend(given.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        let text = LlamaConfig::from_hf(&Value::Object(text))?;
        let projector = fields.text("mm_projector_type", "mlp2x_gelu")?;
        if projector != "mlp2x_gelu" || fields.text("projector_hidden_act", "gelu")? != "gelu" {
            return Err(fields.wrong("mm_projector_type", "\"mlp2x_gelu\", two linear layers and a GELU").into());
        }
        let image_token = match fields.get("image_token_index").or_else(|| fields.get("image_token_id")) {
            None => None,
            Some(_) => Some(fields.whole("image_token_index", 0..=u32::MAX as usize, None)? as u32),
        };
        Ok(Self {
            vision: vision.select(FeatureSelection::from_hf(config)?)?,
            guard: VgmConfig::from_hf(config, text.hidden_size)?,
            text,
            taxonomy: Taxonomy::from_hf(config)?,
            image_token,
        })
    }

    /// Visual tokens of one picture: 576 for the published sizes.
    pub fn tokens_per_image(&self) -> usize {
        self.vision.tokens()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::Device;

    #[test]
    fn published_sizes_have_the_published_parameters() {
        let sizes = PRESETS.map(|preset| preset.config().unwrap());
        let parameters = sizes.each_ref().map(|size| {
            let model = size.init(&Device::flex());
            (model.guard.as_ref().unwrap().num_params(), model.language_model.num_params(), model.projector.num_params())
        });
        // Guards as in the paper's table, language models as Llama's own (6.74 and 13.02 billion).
        assert_eq!(parameters[0], (8_431_636, 6_738_415_616, 20_979_712));
        assert_eq!(parameters[1], (13_160_980, 13_015_864_320, 31_467_520));
        assert!(sizes.iter().all(|size| size.tokens_per_image() == 576));
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
            "vision_feature_layer": -2, "vision_feature_select_strategy": "default"
        }))
        .unwrap();
        let old = SafeLlavaConfig::preset("7b").unwrap();
        assert_eq!(new.vision, old.vision);
        assert_eq!((new.text.vocab_size, new.image_token), (32_064, Some(32_000)));
        assert_eq!((old.text.vocab_size, old.image_token), (32_000, None));
        assert_eq!((new.text.hidden_size, new.text.num_hidden_layers), (old.text.hidden_size, 32));
        assert!(new.guard.is_none() && old.guard.is_some());
    }

    #[test]
    fn what_would_change_the_numbers_silently_is_refused() {
        for (key, value) in [
            ("mm_projector_type", json!("linear")),
            ("projector_hidden_act", json!("relu")),
            ("vision_feature_layer", json!(99)),
            ("mm_vision_tower", json!("openai/clip-vit-huge")),
            ("image_token_index", json!(-200)),
            ("hidden_size", json!(0)),
        ] {
            let mut config = json!({"mm_vision_tower": "openai/clip-vit-large-patch14-336"});
            config[key] = value;
            assert!(SafeLlavaConfig::from_hf(&config).is_err(), "{key}");
        }
        assert!(SafeLlavaConfig::from_hf(&json!({})).is_err());
        assert!(SafeLlavaConfig::preset("70b").unwrap_err().to_string().contains("7b, 13b"));
    }
}
