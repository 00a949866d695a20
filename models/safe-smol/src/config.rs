//! `config.json` of a safe-smol folder.

use safevlm_core::fields::Fields;
use safevlm_efficientnet::EfficientNetConfig;
use safevlm_family::{FamilyError, GuardConfig};
use safevlm_llama::LlamaConfig;
use serde_json::Value;

/// Sizes of all parts.
#[derive(Clone, Debug)]
pub struct SafeSmolConfig {
    /// The vision encoder.
    pub vision: EfficientNetConfig,
    /// The language model.
    pub text: LlamaConfig,
    /// The guard head and its labels; a base model has none.
    pub guard: Option<GuardConfig>,
    /// The id that stands for one visual token.
    pub image_token: u32,
}

impl SafeSmolConfig {
    /// Reads the parsed `config.json`.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type, or the parts do not fit.
    pub fn from_hf(config: &Value) -> Result<Self, FamilyError> {
        let fields = Fields::new("config.json", config)?;
        let part = |key: &'static str| fields.get(key).ok_or_else(|| fields.wrong(key, "an object"));
        let text = LlamaConfig::from_hf(part("text_config")?).map_err(FamilyError::config)?;
        Ok(Self {
            vision: EfficientNetConfig::from_hf(part("vision_config")?).map_err(FamilyError::config)?,
            guard: GuardConfig::from_hf(config, text.hidden_size)?,
            text,
            image_token: fields.whole("image_token_index", 0..=u32::MAX as usize, None)? as u32,
        })
    }

    /// Visual tokens of one picture: the places of the feature map, and the guard's own.
    pub fn tokens_per_image(&self) -> usize {
        self.vision.tokens() + self.guard.as_ref().map_or(0, GuardConfig::tokens)
    }
}
