//! Llama-style language models, which see no images and have no guard.

use std::path::Path;

use burn::tensor::Device;
use safevlm_core::{Conversation, RgbImage};
use safevlm_family::{Family, FamilyError, GuardConfig, Inputs, ModelOf, TokenGrid};
use safevlm_llama::{Llama, LlamaConfig};
use safevlm_nn::{NoProjector, NoVision, Sequences, Vlm};
use safevlm_text::{ChatTemplate, TextTokenizer};
use safevlm_weights::{Allow, KeyMap};
use serde_json::Value;

/// The processor of a text-only model.
#[derive(Debug)]
pub(crate) struct TextOnly {
    tokenizer: TextTokenizer,
    template: ChatTemplate,
}

impl Family for TextOnly {
    const MODEL_TYPES: &'static [&'static str] = &["llama"];

    type Vision = NoVision;
    type Projector = NoProjector;
    type LanguageModel = Llama;
    type Config = LlamaConfig;

    fn config(config: &Value) -> Result<LlamaConfig, FamilyError> {
        LlamaConfig::from_hf(config).map_err(FamilyError::config)
    }

    fn context(config: &LlamaConfig) -> usize {
        config.max_position_embeddings
    }

    fn vocab_size(config: &LlamaConfig) -> usize {
        config.vocab_size
    }

    fn guard(_: &LlamaConfig) -> Option<&GuardConfig> {
        None
    }

    fn init(config: &LlamaConfig, device: &Device) -> ModelOf<Self> {
        Vlm { vision: NoVision, projector: NoProjector, language_model: config.init(device), guard: None }
    }

    fn key_map() -> KeyMap {
        KeyMap::new(&[(r"^model\.", "language_model."), (r"^lm_head\.", "language_model.lm_head.")])
    }

    fn allow() -> Allow {
        Allow::nothing().unused(safevlm_llama::IGNORED)
    }

    fn open(dir: &Path, _: &LlamaConfig) -> Result<Self, FamilyError> {
        Ok(Self { tokenizer: TextTokenizer::from_dir(dir)?, template: ChatTemplate::from_dir(dir)? })
    }

    fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    fn image_token(&self) -> Option<u32> {
        None
    }

    fn render(&self, conversation: &Conversation) -> Result<String, FamilyError> {
        Ok(self.template.render(conversation, "", &self.tokenizer)?)
    }

    fn encode(&self, prompt: &str, _: &[(u32, u32)]) -> Result<Vec<u32>, FamilyError> {
        Ok(self.tokenizer.encode(prompt)?)
    }

    fn token_grid(&self, _: (u32, u32)) -> Result<Option<TokenGrid>, FamilyError> {
        Ok(None)
    }

    fn inputs(&self, sequences: Sequences, images: &[&RgbImage], _: &Device) -> Result<Inputs<Self>, FamilyError> {
        match images.len() {
            0 => Ok(Inputs { sequences, pixels: None }),
            images => Err(FamilyError::Placeholders { placeholders: 0, images }),
        }
    }
}
