//! `config.json` of a safe-smol folder.

use safevlm_core::taxonomy::Taxonomy;
use safevlm_efficientnet::EfficientNetConfig;
use safevlm_llama::LlamaConfig;
use safevlm_vgm::VgmConfig;
use serde_json::Value;

use crate::error::SafeSmolError;

/// Sizes of all parts.
#[derive(Clone, Debug)]
pub struct SafeSmolConfig {
    /// The vision encoder.
    pub vision: EfficientNetConfig,
    /// The language model.
    pub text: LlamaConfig,
    /// The guard head; a base model has none.
    pub guard: Option<VgmConfig>,
    /// The guard's labels, in the order of its logits.
    pub taxonomy: Taxonomy,
    /// The id that stands for one visual token.
    pub image_token: u32,
}

impl SafeSmolConfig {
    /// Reads the parsed `config.json`.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type, or the parts do not fit.
    pub fn from_hf(config: &Value) -> Result<Self, SafeSmolError> {
        let part = |key: &'static str| config.get(key).ok_or(SafeSmolError::Key { key, expected: "an object" });
        let number = |key: &'static str| {
            let value = config.get(key).and_then(Value::as_u64).and_then(|v| u32::try_from(v).ok());
            value.ok_or(SafeSmolError::Key { key, expected: "a whole number" })
        };
        let text = LlamaConfig::from_hf(part("text_config")?)?;
        Ok(Self {
            vision: EfficientNetConfig::from_hf(part("vision_config")?)?,
            guard: VgmConfig::from_hf(config, text.hidden_size)?,
            text,
            taxonomy: Taxonomy::from_hf(config)?,
            image_token: number("image_token_index")?,
        })
    }

    /// Visual tokens of one picture: the places of the feature map.
    pub fn tokens_per_image(&self) -> usize {
        self.vision.tokens()
    }
}
