//! `config.json` of a SafeGem or Gemma 3 folder.

use safevlm_core::fields::Fields;
use safevlm_family::{FamilyError, GuardConfig};
use safevlm_gemma::{GemmaConfig, GemmaProjectorConfig};
use safevlm_siglip::SiglipVisionConfig;
use serde_json::Value;

/// Sizes of all parts.
#[derive(Clone, Debug)]
pub struct SafeGemConfig {
    /// The vision encoder.
    pub vision: SiglipVisionConfig,
    /// From patches to visual tokens.
    pub projector: GemmaProjectorConfig,
    /// The language model.
    pub text: GemmaConfig,
    /// The guard head and its labels; Gemma 3 itself has none.
    pub guard: Option<GuardConfig>,
    /// The id that stands for one visual token.
    pub image_token: u32,
}

impl SafeGemConfig {
    /// Reads the parsed `config.json`, as transformers 4 wrote it or as transformers 5 does.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type, or the parts do not fit.
    pub fn from_hf(config: &Value) -> Result<Self, FamilyError> {
        let fields = Fields::new("config.json", config)?;
        let part = |key: &'static str| fields.get(key).ok_or_else(|| fields.wrong(key, "an object"));
        let vision = SiglipVisionConfig::from_hf(part("vision_config")?).map_err(FamilyError::config)?;
        part("text_config")?;
        // The whole file: what stands beside `text_config` can contradict it.
        let text = GemmaConfig::from_hf(config).map_err(FamilyError::config)?;
        let projector = GemmaProjectorConfig::from_hf(config, text.hidden_size).map_err(FamilyError::config)?;
        // The second name is transformers' own for the first; the default is that of its `Gemma3Config`.
        let key = if fields.get("image_token_index").is_some() { "image_token_index" } else { "image_token_id" };
        Ok(Self {
            vision,
            projector,
            guard: GuardConfig::from_hf(config, text.hidden_size)?,
            text,
            image_token: fields.whole(key, 0..=u32::MAX as usize, 262_144)? as u32,
        })
    }

    /// Visual tokens of one image: the projector's, and the guard's own.
    pub fn tokens_per_image(&self) -> usize {
        self.projector.tokens() + self.guard.as_ref().map_or(0, GuardConfig::tokens)
    }
}
