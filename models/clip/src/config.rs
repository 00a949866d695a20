//! Size and options of a CLIP vision encoder, and the published sizes.

use burn::config::Config;
use safevlm_core::fields::{FieldError, Fields};
use safevlm_nn::Activation;
use serde_json::Value;
use thiserror::Error;

use crate::features::FeatureSelection;

/// Configuration of a [`ClipVision`](crate::ClipVision); the names are those of `vision_config` in
/// Hugging Face's `config.json`, except for `features`.
#[derive(Config, Debug, PartialEq)]
pub struct ClipVisionConfig {
    /// Width of the model.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads, a divisor of `hidden_size`.
    pub num_attention_heads: usize,
    /// Side of the square input, in pixels; a multiple of `patch_size`.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Inside the feed-forward blocks.
    #[config(default = "Activation::QuickGelu")]
    pub hidden_act: Activation,
    /// Epsilon of the norms.
    #[config(default = 1e-5)]
    pub layer_norm_eps: f64,
    /// Which hidden states [`encode`](safevlm_nn::VisionEncoder::encode) returns.
    #[config(default = "FeatureSelection::default()")]
    pub features: FeatureSelection,
}

/// A configuration that cannot be built.
#[derive(Debug, Error)]
pub enum ClipConfigError {
    /// No such preset.
    #[error("there is no CLIP encoder `{name}`; choose one of {}", names())]
    UnknownName {
        /// The name that was asked for.
        name: String,
    },
    /// A value of `config.json` cannot be used.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// One published size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// OpenAI's name on the hub, without `openai/clip-`.
    pub name: &'static str,
    /// Width of the model; four times as wide inside the feed-forward blocks.
    pub hidden_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of heads.
    pub heads: usize,
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
}

/// The published sizes (arXiv 2103.00020, table 20).
pub const PRESETS: [Preset; 4] = [
    preset("vit-base-patch32", 768, 12, 12, 224, 32),
    preset("vit-base-patch16", 768, 12, 12, 224, 16),
    preset("vit-large-patch14", 1024, 24, 16, 224, 14),
    preset("vit-large-patch14-336", 1024, 24, 16, 336, 14),
];

const fn preset(
    name: &'static str,
    hidden_size: usize,
    layers: usize,
    heads: usize,
    image_size: usize,
    patch_size: usize,
) -> Preset {
    Preset { name, hidden_size, layers, heads, image_size, patch_size }
}

fn names() -> String {
    PRESETS.map(|preset| preset.name).join(", ")
}

impl Preset {
    /// The preset in full, with LLaVA-1.5's features.
    pub fn config(&self) -> ClipVisionConfig {
        ClipVisionConfig::new(
            self.hidden_size,
            4 * self.hidden_size,
            self.layers,
            self.heads,
            self.image_size,
            self.patch_size,
        )
    }
}

impl ClipVisionConfig {
    /// The published size `name`, with or without `openai/clip-` before it, as the original LLaVA's
    /// `mm_vision_tower` names it.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn preset(name: &str) -> Result<Self, ClipConfigError> {
        let short = name.trim_start_matches("openai/").trim_start_matches("clip-");
        let found = PRESETS.iter().find(|preset| preset.name == short);
        found.map(Preset::config).ok_or_else(|| ClipConfigError::UnknownName { name: name.to_owned() })
    }

    /// Reads a `vision_config`. What it leaves out has the value of transformers' `CLIPVisionConfig`.
    ///
    /// # Errors
    ///
    /// If a key has another type or an impossible value, or asks for something that would silently
    /// change the numbers.
    pub fn from_hf(vision_config: &Value) -> Result<Self, ClipConfigError> {
        let fields = Fields::new("config.json", vision_config)?;
        let kind = fields.text("model_type", "clip_vision_model")?;
        if kind != "clip_vision_model" {
            return Err(fields.wrong("model_type", "\"clip_vision_model\"").into());
        }
        fields.whole("num_channels", 3..=3, 3)?;
        let hidden_size = fields.whole("hidden_size", 1..=65_536, 768)?;
        let heads = fields.whole("num_attention_heads", 1..=1024, 12)?;
        if hidden_size % heads != 0 {
            return Err(fields.wrong("num_attention_heads", "a divisor of `hidden_size`").into());
        }
        let image_size = fields.side("image_size", 224)?;
        let patch_size = fields.side("patch_size", 32)?;
        if image_size % patch_size != 0 {
            return Err(fields.wrong("image_size", format!("a multiple of `patch_size`, {patch_size}")).into());
        }
        let activation = Activation::from_hf(fields.text("hidden_act", "quick_gelu")?);
        let config = Self::new(
            hidden_size,
            fields.whole("intermediate_size", 1..=262_144, 3072)?,
            fields.whole("num_hidden_layers", 1..=1024, 12)?,
            heads,
            image_size,
            patch_size,
        );
        Ok(config
            .with_hidden_act(activation.ok_or_else(|| fields.wrong("hidden_act", Activation::NAMES))?)
            .with_layer_norm_eps(fields.positive("layer_norm_eps", 1e-5)?))
    }

    /// The same encoder with other features, which LLaVA names in the outer part of `config.json`.
    ///
    /// # Errors
    ///
    /// If it has no such layer.
    pub fn select(self, features: FeatureSelection) -> Result<Self, ClipConfigError> {
        features.check(self.num_hidden_layers)?;
        Ok(self.with_features(features))
    }

    /// Tokens of one image: its patches, and the class token where the features keep it.
    pub fn tokens(&self) -> usize {
        self.patches() + usize::from(self.features.class_token)
    }

    /// Width of one token.
    pub fn feature_width(&self) -> usize {
        self.hidden_size * self.features.layers.len()
    }

    /// Patches of one image.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::Device;
    use serde_json::json;

    #[test]
    fn parameters_are_the_published_ones() {
        // OpenAI's totals, less the text encoder, the two projections and the temperature: 63,821,313 for
        // the base models and 124,436,737 for the large ones.
        let totals = [151_277_313 - 63_821_313, 149_620_737 - 63_821_313, 427_616_513 - 124_436_737, 303_507_456];
        let sizes = PRESETS.map(|preset| preset.config().init(&Device::flex()).num_params());
        assert_eq!(sizes, totals);
        assert_eq!(totals[3], 427_944_193 - 124_436_737);
    }

    #[test]
    fn presets_are_found_by_every_name() {
        let config = ClipVisionConfig::preset("openai/clip-vit-large-patch14-336").unwrap();
        assert_eq!((config.tokens(), config.feature_width()), (576, 1024));
        assert_eq!(ClipVisionConfig::preset("vit-large-patch14-336").unwrap(), config);
        let message = ClipVisionConfig::preset("vit-huge").unwrap_err().to_string();
        assert!(message.contains("vit-huge") && message.contains("vit-large-patch14-336"), "{message}");
    }

    #[test]
    fn llavas_short_config_is_the_preset() {
        let llava = json!({
            "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "model_type": "clip_vision_model",
            "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768,
            "vocab_size": 32000
        });
        let config = ClipVisionConfig::from_hf(&llava).unwrap();
        assert_eq!(config, ClipVisionConfig::preset("vit-large-patch14-336").unwrap());
        let mut sides = llava.clone();
        (sides["image_size"], sides["patch_size"]) = (json!([336, 336]), json!([14, 14]));
        assert_eq!(ClipVisionConfig::from_hf(&sides).unwrap(), config);
        // transformers' defaults.
        assert_eq!(ClipVisionConfig::from_hf(&json!({})).unwrap(), PRESETS[0].config());
    }

    #[test]
    fn what_would_change_the_numbers_silently_is_refused() {
        for (key, value) in [
            ("model_type", json!("siglip_vision_model")),
            ("hidden_act", json!("gelu_fast")),
            ("hidden_act", json!(3)),
            ("image_size", json!(337)),
            ("image_size", json!(0)),
            ("image_size", json!([336, 224])),
            ("patch_size", json!(1e9 as u64)),
            ("patch_size", json!(14.5)),
            ("hidden_size", json!(0)),
            ("hidden_size", json!(1u64 << 40)),
            ("intermediate_size", json!("4096")),
            ("num_hidden_layers", json!(0)),
            ("num_hidden_layers", json!(-1)),
            ("num_attention_heads", json!(7)),
            ("num_channels", json!(4)),
            ("layer_norm_eps", json!(0.0)),
        ] {
            let mut config =
                json!({"hidden_size": 1024, "image_size": 336, "patch_size": 14, "num_attention_heads": 16});
            config[key] = value;
            let message = ClipVisionConfig::from_hf(&config).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
        }
        assert!(ClipVisionConfig::from_hf(&json!("vit")).is_err());
    }
}
