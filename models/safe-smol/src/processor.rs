//! Pictures to pixels and conversations to token ids.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use safevlm_core::conversation::Conversation;
use safevlm_efficientnet::{Framing, Preprocess};
use safevlm_text::{ChatTemplate, TextTokenizer};

use crate::config::SafeSmolConfig;
use crate::error::SafeSmolError;

/// Stands for a picture in the prompt; one of them for each of its visual tokens.
pub const IMAGE_TOKEN: &str = "<image>";

/// Ends every turn of ChatML.
const END_OF_TURN: &str = "<|im_end|>";

/// Makes the model's inputs.
#[derive(Debug)]
pub struct Processor {
    /// The tokenizer, with [`IMAGE_TOKEN`] as a special token.
    pub tokenizer: TextTokenizer,
    template: ChatTemplate,
    preprocess: Preprocess,
    image_token: u32,
    tokens_per_image: usize,
}

impl Processor {
    /// Reads the tokenizer and chat template of a model folder.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or the tokenizer lacks the image token.
    pub fn from_dir(dir: &Path, config: &SafeSmolConfig) -> Result<Self, SafeSmolError> {
        let tokenizer = TextTokenizer::from_dir(dir)?;
        if tokenizer.id(IMAGE_TOKEN) != Some(config.image_token) {
            return Err(SafeSmolError::Token(IMAGE_TOKEN));
        }
        Ok(Self {
            tokenizer,
            template: ChatTemplate::from_dir(dir)?,
            preprocess: Preprocess { framing: Framing::Squash, ..Preprocess::new(&config.vision) },
            image_token: config.image_token,
            tokens_per_image: config.tokens_per_image(),
        })
    }

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
    pub fn pixels(&self, images: &[&RgbImage], device: &Device) -> Result<Tensor<4>, SafeSmolError> {
        Ok(self.preprocess.batch(images, device)?)
    }

    /// Token ids of `conversation` up to where the answer begins, every picture written as its
    /// visual tokens.
    ///
    /// # Errors
    ///
    /// If the chat template refuses the conversation.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, SafeSmolError> {
        let text = self.template.render(conversation, IMAGE_TOKEN, &self.tokenizer)?;
        let ids = self.tokenizer.encode(&text)?;
        let expand = |id| std::iter::repeat_n(id, if id == self.image_token { self.tokens_per_image } else { 1 });
        Ok(ids.into_iter().flat_map(expand).collect())
    }

    /// Token ids of an answer as the model should give it, with the end of its turn.
    ///
    /// # Errors
    ///
    /// If the tokenizer refuses the text, or has no end-of-turn token.
    pub fn answer(&self, text: &str) -> Result<Vec<u32>, SafeSmolError> {
        let mut ids = self.tokenizer.encode(&self.tokenizer.neutralise(text))?;
        ids.push(self.tokenizer.id(END_OF_TURN).ok_or(SafeSmolError::Token(END_OF_TURN))?);
        Ok(ids)
    }

    /// The id that stands for one visual token.
    pub fn image_token(&self) -> u32 {
        self.image_token
    }

    /// Visual tokens of one picture.
    pub fn tokens_per_image(&self) -> usize {
        self.tokens_per_image
    }
}
