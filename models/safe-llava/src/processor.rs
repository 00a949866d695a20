//! Pictures to pixels and conversations to token ids.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use safevlm_clip::ClipProcessor;
use safevlm_core::conversation::Conversation;
use safevlm_text::{ChatTemplate, TextTokenizer};
use serde_json::Value;

use crate::config::SafeLlavaConfig;
use crate::error::SafeLlavaError;

/// Stands for a picture in the prompt; one of them for each of its visual tokens.
pub const IMAGE_TOKEN: &str = "<image>";

/// Makes the model's inputs as transformers' `LlavaProcessor` does.
#[derive(Debug)]
pub struct Processor {
    /// The tokenizer, with [`IMAGE_TOKEN`] as a special token.
    pub tokenizer: TextTokenizer,
    template: ChatTemplate,
    pixels: ClipProcessor,
    image_token: u32,
    tokens_per_image: usize,
}

impl Processor {
    /// Reads the tokenizer, chat template and image settings of a model folder; `config` is its parsed
    /// `config.json`, of which the original code's `image_aspect_ratio` matters here.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or does not belong to the model.
    pub fn from_dir(dir: &Path, sizes: &SafeLlavaConfig, config: &Value) -> Result<Self, SafeLlavaError> {
        let tokenizer = TextTokenizer::from_dir(dir)?;
        let tokenizer = match sizes.image_token {
            Some(_) => tokenizer,
            None => tokenizer.with_special_token(IMAGE_TOKEN),
        };
        let image_token = tokenizer.id(IMAGE_TOKEN).ok_or(SafeLlavaError::Token(IMAGE_TOKEN))?;
        if sizes.image_token.is_some_and(|id| id != image_token) {
            return Err(SafeLlavaError::Token(IMAGE_TOKEN));
        }
        let settings = ["preprocessor_config.json", "processor_config.json"].map(|file| dir.join(file));
        let pixels = match settings.iter().find(|path| path.is_file()) {
            Some(path) => ClipProcessor::from_hf(&safevlm_text::read_json(path)?, &sizes.vision)?,
            None => ClipProcessor::new(&sizes.vision)?,
        };
        Ok(Self {
            tokenizer,
            template: ChatTemplate::from_dir(dir)?,
            pixels: pixels.with_aspect_ratio_of(config)?,
            image_token,
            tokens_per_image: sizes.tokens_per_image(),
        })
    }

    /// # Shapes
    ///
    /// - output `[images, 3, image_size, image_size]`
    ///
    /// # Errors
    ///
    /// If an image has no pixels, or is absurdly long.
    pub fn pixels(&self, images: &[&RgbImage], device: &Device) -> Result<Tensor<4>, SafeLlavaError> {
        Ok(self.pixels.pixels(images, device)?)
    }

    /// Token ids of `conversation` up to where the answer begins, every picture written as its visual
    /// tokens.
    ///
    /// # Errors
    ///
    /// If the chat template refuses the conversation.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, SafeLlavaError> {
        let text = self.template.render(conversation, IMAGE_TOKEN, &self.tokenizer)?;
        let ids = self.tokenizer.encode(&text)?;
        let expand = |id| std::iter::repeat_n(id, if id == self.image_token { self.tokens_per_image } else { 1 });
        Ok(ids.into_iter().flat_map(expand).collect())
    }

    /// The id that stands for one visual token.
    pub fn image_token(&self) -> u32 {
        self.image_token
    }
}
