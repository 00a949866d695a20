//! Size and options of a SigLIP vision encoder, and the published sizes.

use burn::config::Config;
use safevlm_core::fields::{FieldError, Fields};
use safevlm_nn::Activation;
use serde_json::Value;
use thiserror::Error;

/// Configuration of a [`SiglipVision`](crate::SiglipVision); the names are those of `vision_config`
/// in Hugging Face's `config.json`.
#[derive(Config, Debug, PartialEq)]
pub struct SiglipVisionConfig {
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
    #[config(default = "Activation::GeluTanh")]
    pub hidden_act: Activation,
    /// Epsilon of the norms.
    #[config(default = 1e-6)]
    pub layer_norm_eps: f64,
}

/// A configuration that cannot be built.
#[derive(Debug, Error)]
pub enum SiglipConfigError {
    /// No such preset.
    #[error("there is no SigLIP encoder `{name}`; choose one of {}", names())]
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
    /// Google's name on the hub, without `google/siglip-`; the last is the encoder inside Gemma 3.
    pub name: &'static str,
    /// Width of the model.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of heads.
    pub heads: usize,
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
}

/// The sizes (arXiv 2303.15343; Gemma 3: arXiv 2503.19786, section 2).
pub const PRESETS: [Preset; 3] = [
    preset("base-patch16-224", [768, 3072, 12, 12], 224, 16),
    preset("so400m-patch14-224", [1152, 4304, 27, 16], 224, 14),
    preset("so400m-patch14-896", [1152, 4304, 27, 16], 896, 14),
];

/// `model`: widths outside and inside the feed-forward blocks, layers, heads.
const fn preset(name: &'static str, model: [usize; 4], image_size: usize, patch_size: usize) -> Preset {
    let [hidden_size, intermediate_size, layers, heads] = model;
    Preset { name, hidden_size, intermediate_size, layers, heads, image_size, patch_size }
}

fn names() -> String {
    PRESETS.map(|preset| preset.name).join(", ")
}

impl Preset {
    /// The preset in full.
    pub fn config(&self) -> SiglipVisionConfig {
        SiglipVisionConfig::new(
            self.hidden_size,
            self.intermediate_size,
            self.layers,
            self.heads,
            self.image_size,
            self.patch_size,
        )
    }
}

impl SiglipVisionConfig {
    /// The published size `name`, with or without `google/siglip-` before it.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn preset(name: &str) -> Result<Self, SiglipConfigError> {
        let short = name.trim_start_matches("google/").trim_start_matches("siglip-");
        let found = PRESETS.iter().find(|preset| preset.name == short);
        found.map(Preset::config).ok_or_else(|| SiglipConfigError::UnknownName { name: name.to_owned() })
    }

    /// Reads a `vision_config`. What it leaves out has the value of transformers' `SiglipVisionConfig`.
    /// Whether there is a pooling head (`vision_use_head`) makes no difference: it is not part of this.
    ///
    /// # Errors
    ///
    /// If a key has another type or an impossible value, or asks for something that would silently
    /// change the numbers.
    pub fn from_hf(vision_config: &Value) -> Result<Self, SiglipConfigError> {
        let fields = Fields::new("config.json", vision_config)?;
        let kind = fields.text("model_type", "siglip_vision_model")?;
        if kind != "siglip_vision_model" {
            return Err(fields.wrong("model_type", "\"siglip_vision_model\"").into());
        }
        fields.whole("num_channels", 3..=3, 3)?;
        let hidden_size = fields.whole("hidden_size", 1..=65_536, 768)?;
        let heads = fields.whole("num_attention_heads", 1..=1024, 12)?;
        if hidden_size % heads != 0 {
            return Err(fields.wrong("num_attention_heads", "a divisor of `hidden_size`").into());
        }
        let image_size = fields.side("image_size", 224)?;
        let patch_size = fields.side("patch_size", 16)?;
        if image_size % patch_size != 0 {
            return Err(fields.wrong("image_size", format!("a multiple of `patch_size`, {patch_size}")).into());
        }
        let activation = Activation::from_hf(fields.text("hidden_act", "gelu_pytorch_tanh")?);
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
            .with_layer_norm_eps(fields.positive("layer_norm_eps", 1e-6)?))
    }

    /// Tokens of one image: its patches.
    pub fn tokens(&self) -> usize {
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
        // As transformers counts them without the pooling head; the last are the 417 M of the Gemma 3 report.
        let sizes = PRESETS.map(|preset| preset.config().init(&Device::flex()).num_params());
        assert_eq!(sizes, [85_797_120, 412_442_352, 416_866_032]);
    }

    #[test]
    fn presets_are_found_by_every_name() {
        let config = SiglipVisionConfig::preset("google/siglip-so400m-patch14-896").unwrap();
        assert_eq!((config.tokens(), config.hidden_size), (4096, 1152));
        assert_eq!(SiglipVisionConfig::preset("so400m-patch14-896").unwrap(), config);
        let message = SiglipVisionConfig::preset("giant").unwrap_err().to_string();
        assert!(message.contains("giant") && message.contains("so400m-patch14-896"), "{message}");
    }

    #[test]
    fn gemmas_short_config_is_the_preset() {
        let gemma = json!({
            "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model",
            "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": false
        });
        let config = SiglipVisionConfig::from_hf(&gemma).unwrap();
        assert_eq!(config, SiglipVisionConfig::preset("so400m-patch14-896").unwrap());
        // transformers' defaults.
        assert_eq!(SiglipVisionConfig::from_hf(&json!({})).unwrap(), PRESETS[0].config());
    }

    #[test]
    fn what_would_change_the_numbers_silently_is_refused() {
        for (key, value) in [
            ("model_type", json!("clip_vision_model")),
            ("hidden_act", json!("gelu_fast")),
            ("hidden_act", json!(3)),
            ("image_size", json!(384)),
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
                json!({"hidden_size": 1152, "image_size": 896, "patch_size": 14, "num_attention_heads": 16});
            config[key] = value;
            let message = SiglipVisionConfig::from_hf(&config).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
        }
        assert!(SiglipVisionConfig::from_hf(&json!("vit")).is_err());
    }
}
