//! Pictures to pixels and conversations to token ids.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use safevlm_core::View;
use safevlm_core::conversation::Conversation;
use safevlm_efficientnet::{EfficientNet, Framing, Preprocess};
use safevlm_family::{Family, FamilyError, GuardConfig, Inputs, TokenGrid, expand};
use safevlm_llama::Llama;
use safevlm_nn::{MlpProjector, Sequences};
use safevlm_text::{ChatTemplate, TextTokenizer};
use safevlm_weights::KeyMap;
use serde_json::Value;

use crate::config::SafeSmolConfig;
use crate::keys::key_map;
use crate::model::SafeSmol;

/// Stands for a picture in the prompt; one of them for each of its visual tokens.
pub const IMAGE_TOKEN: &str = "<image>";

/// Makes the model's inputs.
#[derive(Debug)]
pub struct Processor {
    /// The tokenizer, with [`IMAGE_TOKEN`] as a special token.
    pub tokenizer: TextTokenizer,
    template: ChatTemplate,
    preprocess: Preprocess,
    image_token: u32,
    tokens_per_image: usize,
    /// Places of the feature map.
    places: usize,
}

impl Processor {
    /// Pixels of `images`, the whole of each squeezed into a square, so that no border is cut off
    /// unseen.
    ///
    /// # Shapes
    ///
    /// - output `[images, 3, image_size, image_size]`
    ///
    /// # Errors
    ///
    /// If an image has no pixels.
    pub fn pixels(&self, images: &[&RgbImage], device: &Device) -> Result<Tensor<4>, FamilyError> {
        Ok(self.preprocess.batch(images, device)?)
    }
}

impl Family for Processor {
    const MODEL_TYPES: &'static [&'static str] = &["safe_smol"];

    type Vision = EfficientNet;
    type Projector = MlpProjector;
    type LanguageModel = Llama;
    type Config = SafeSmolConfig;

    fn config(config: &Value) -> Result<SafeSmolConfig, FamilyError> {
        SafeSmolConfig::from_hf(config)
    }

    fn context(config: &SafeSmolConfig) -> usize {
        config.text.max_position_embeddings
    }

    fn vocab_size(config: &SafeSmolConfig) -> usize {
        config.text.vocab_size
    }

    fn guard(config: &SafeSmolConfig) -> Option<&GuardConfig> {
        config.guard.as_ref()
    }

    fn init(config: &SafeSmolConfig, device: &Device) -> SafeSmol {
        config.init(device)
    }

    fn key_map() -> KeyMap {
        key_map()
    }

    fn open(dir: &Path, config: &SafeSmolConfig) -> Result<Self, FamilyError> {
        let tokenizer = TextTokenizer::from_dir(dir)?;
        if tokenizer.id(IMAGE_TOKEN) != Some(config.image_token) {
            return Err(FamilyError::Token { token: IMAGE_TOKEN });
        }
        Ok(Self {
            tokenizer,
            template: ChatTemplate::from_dir(dir)?,
            preprocess: Preprocess { framing: Framing::Squash, ..Preprocess::new(&config.vision) },
            image_token: config.image_token,
            tokens_per_image: config.tokens_per_image(),
            places: config.vision.tokens(),
        })
    }

    fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    fn image_token(&self) -> Option<u32> {
        Some(self.image_token)
    }

    fn render(&self, conversation: &Conversation) -> Result<String, FamilyError> {
        Ok(self.template.render(conversation, IMAGE_TOKEN, &self.tokenizer)?)
    }

    fn encode(&self, prompt: &str, sizes: &[(u32, u32)]) -> Result<Vec<u32>, FamilyError> {
        let counts = vec![self.tokens_per_image; sizes.len()];
        expand(self.tokenizer.encode(prompt)?, self.image_token, &counts)
    }

    fn token_grid(&self, size: (u32, u32)) -> Result<Option<TokenGrid>, FamilyError> {
        // The whole picture is squeezed into the square.
        Ok(TokenGrid::square(self.places, View::whole(size)))
    }

    fn inputs(&self, sequences: Sequences, images: &[&RgbImage], device: &Device) -> Result<Inputs<Self>, FamilyError> {
        let pixels = (!images.is_empty()).then(|| self.pixels(images, device)).transpose()?;
        Ok(Inputs { sequences, pixels })
    }
}
