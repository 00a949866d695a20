//! Pictures to pixels and conversations to token ids.

use std::path::Path;

use burn::tensor::Device;
use image::RgbImage;
use safevlm_clip::{ClipProcessor, ClipVision};
use safevlm_core::Conversation;
use safevlm_family::{Family, FamilyError, GuardConfig, Inputs, Published, TokenGrid, expand, image_settings};
use safevlm_llama::Llama;
use safevlm_nn::{MlpProjector, Sequences};
use safevlm_text::{ChatTemplate, PublishedTemplate, TextTokenizer};
use safevlm_weights::{Allow, KeyMap};
use serde_json::Value;

use crate::config::{Layout, MODEL_TYPES, SafeLlavaConfig};
use crate::keys::{IGNORED, key_map};
use crate::model::SafeLlava;
use crate::published::PUBLISHED;

/// Stands for a picture in the prompt; one of them for each of its visual tokens.
pub const IMAGE_TOKEN: &str = "<image>";

/// Makes the model's inputs as transformers' `LlavaProcessor` or the original code does.
#[derive(Debug)]
pub struct Processor {
    tokenizer: TextTokenizer,
    template: ChatTemplate,
    pixels: ClipProcessor,
    layout: Layout,
    image_token: u32,
    tokens_per_image: usize,
    /// Patches of one picture; none where a class token stands among them.
    patches: Option<usize>,
}

impl Processor {
    /// Token ids of a prompt, with one [`IMAGE_TOKEN`] for each picture.
    fn tokens(&self, prompt: &str) -> Result<Vec<u32>, FamilyError> {
        match self.layout {
            Layout::Transformers => Ok(self.tokenizer.encode_prompt(prompt)?),
            Layout::Original => self.pieces(prompt),
        }
    }

    /// As `tokenizer_image_token` of the original code: each piece of the text is a text of its own to the
    /// tokenizer, which puts a space before it, and `<s>`, which is kept once.
    fn pieces(&self, prompt: &str) -> Result<Vec<u32>, FamilyError> {
        let mut ids = Vec::new();
        let mut begin = None;
        for (nth, piece) in prompt.split(IMAGE_TOKEN).enumerate() {
            let piece = self.tokenizer.encode_prompt(piece)?;
            if nth == 0 {
                begin = piece.first().copied().filter(|id| self.tokenizer.is_special(*id));
                ids = piece;
                continue;
            }
            ids.push(self.image_token);
            let framed = begin.is_some() && piece.first().copied() == begin;
            ids.extend(&piece[usize::from(framed)..]);
        }
        Ok(ids)
    }
}

impl Family for Processor {
    const MODEL_TYPES: &'static [&'static str] = &MODEL_TYPES;
    const PUBLISHED: &'static [Published] = PUBLISHED;

    type Vision = ClipVision;
    type Projector = MlpProjector;
    type LanguageModel = Llama;
    type Config = SafeLlavaConfig;

    fn config(config: &Value) -> Result<SafeLlavaConfig, FamilyError> {
        SafeLlavaConfig::from_hf(config)
    }

    fn context(config: &SafeLlavaConfig) -> usize {
        config.text.max_position_embeddings
    }

    fn vocab_size(config: &SafeLlavaConfig) -> usize {
        config.text.vocab_size
    }

    fn guard(config: &SafeLlavaConfig) -> Option<&GuardConfig> {
        config.guard.as_ref()
    }

    fn init(config: &SafeLlavaConfig, device: &Device) -> SafeLlava {
        config.init(device)
    }

    fn key_map() -> KeyMap {
        key_map()
    }

    fn allow() -> Allow {
        IGNORED.iter().fold(Allow::nothing(), |allow, pattern| allow.unused(pattern))
    }

    fn open(dir: &Path, config: &SafeLlavaConfig) -> Result<Self, FamilyError> {
        let tokenizer = TextTokenizer::from_dir(dir)?;
        let layout = config.layout();
        let (tokenizer, template) = match layout {
            Layout::Transformers => (tokenizer, PublishedTemplate::LlavaHf),
            Layout::Original => (tokenizer.with_special_token(IMAGE_TOKEN)?, PublishedTemplate::LlavaV1),
        };
        let found = tokenizer.id(IMAGE_TOKEN).filter(|id| config.image_token.is_none_or(|wanted| wanted == *id));
        let pixels = match image_settings(dir)? {
            Some(settings) => ClipProcessor::from_hf(&settings, &config.vision)?,
            None => ClipProcessor::new(&config.vision)?,
        };
        Ok(Self {
            image_token: found.ok_or(FamilyError::Token { token: IMAGE_TOKEN })?,
            tokenizer,
            template: ChatTemplate::from_dir_or(dir, template)?,
            pixels: match config.pad_to_square {
                Some(pad) => pixels.with_padding(pad),
                None => pixels,
            },
            layout,
            tokens_per_image: config.tokens_per_image(),
            patches: (!config.vision.features.class_token).then(|| config.vision.patches()),
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
        expand(self.tokens(prompt)?, self.image_token, &counts)
    }

    fn token_grid(&self, size: (u32, u32)) -> Result<Option<TokenGrid>, FamilyError> {
        Ok(self.patches.and_then(|patches| TokenGrid::square(patches, self.pixels.view(size))))
    }

    fn inputs(&self, sequences: Sequences, images: &[&RgbImage], device: &Device) -> Result<Inputs<Self>, FamilyError> {
        let pixels = (!images.is_empty()).then(|| self.pixels.pixels(images, device)).transpose()?;
        Ok(Inputs { sequences, pixels })
    }
}
