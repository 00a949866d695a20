//! Images to pixels and conversations to token ids.

use std::path::Path;

use burn::tensor::Device;
use safevlm_core::fields::Fields;
use safevlm_core::{Conversation, RgbImage};
use safevlm_family::{Family, FamilyError, GuardConfig, Inputs, Published, TokenGrid, image_settings, read_json};
use safevlm_gemma::{Gemma, GemmaProjector};
use safevlm_nn::Sequences;
use safevlm_siglip::{SiglipProcessor, SiglipVision};
use safevlm_text::{ChatTemplate, PublishedTemplate, TextTokenizer};
use safevlm_weights::{Allow, KeyMap};
use serde_json::Value;

use crate::config::SafeGemConfig;
use crate::keys::{allow, key_map};
use crate::model::SafeGem;
use crate::published::PUBLISHED;

/// Stands for an image in a chat template, and before its visual tokens in a prompt.
pub const START_OF_IMAGE: &str = "<start_of_image>";

/// Stands for one visual token.
pub const IMAGE_TOKEN: &str = "<image_soft_token>";

/// Stands behind an image's visual tokens.
pub const END_OF_IMAGE: &str = "<end_of_image>";

/// Makes the model's inputs (reference: transformers `Gemma3Processor`).
#[derive(Debug)]
pub struct Processor {
    tokenizer: TextTokenizer,
    template: ChatTemplate,
    images: SiglipProcessor,
    image_token: u32,
    tokens_per_image: usize,
    /// Visual tokens that the projector makes of one image.
    projected: usize,
    /// What an image is in the text, before it is tokenized.
    full_image_sequence: String,
}

impl Family for Processor {
    const MODEL_TYPES: &'static [&'static str] = &["gemma3"];
    const PUBLISHED: &'static [Published] = PUBLISHED;

    type Vision = SiglipVision;
    type Projector = GemmaProjector;
    type LanguageModel = Gemma;
    type Config = SafeGemConfig;

    fn config(config: &Value) -> Result<SafeGemConfig, FamilyError> {
        SafeGemConfig::from_hf(config)
    }

    fn context(config: &SafeGemConfig) -> usize {
        config.text.max_position_embeddings
    }

    fn vocab_size(config: &SafeGemConfig) -> usize {
        config.text.vocab_size
    }

    fn guard(config: &SafeGemConfig) -> Option<&GuardConfig> {
        config.guard.as_ref()
    }

    fn init(config: &SafeGemConfig, device: &Device) -> SafeGem {
        config.init(device)
    }

    fn key_map() -> KeyMap {
        key_map()
    }

    fn allow() -> Allow {
        allow()
    }

    fn open(dir: &Path, config: &SafeGemConfig) -> Result<Self, FamilyError> {
        let mut tokenizer = TextTokenizer::from_dir(dir)?;
        if tokenizer.id(IMAGE_TOKEN) != Some(config.image_token) {
            return Err(FamilyError::Token { token: IMAGE_TOKEN });
        }
        for token in [START_OF_IMAGE, IMAGE_TOKEN, END_OF_IMAGE] {
            tokenizer.id(token).ok_or(FamilyError::Token { token })?;
            // Nobody can type them, even where the file does not call them special.
            tokenizer = tokenizer.with_special_token(token)?;
        }
        let tokens_per_image = config.tokens_per_image();
        let visual_tokens = IMAGE_TOKEN.repeat(tokens_per_image);
        Ok(Self {
            tokenizer,
            template: ChatTemplate::from_dir_or(dir, PublishedTemplate::Gemma3)?,
            images: image_processor(dir, config)?,
            image_token: config.image_token,
            tokens_per_image,
            projected: config.projector.tokens(),
            full_image_sequence: format!("\n\n{START_OF_IMAGE}{visual_tokens}{END_OF_IMAGE}\n\n"),
        })
    }

    fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    fn image_token(&self) -> Option<u32> {
        Some(self.image_token)
    }

    fn render(&self, conversation: &Conversation) -> Result<String, FamilyError> {
        Ok(self.template.render(conversation, START_OF_IMAGE, &self.tokenizer)?)
    }

    /// Images become text before the tokenizer sees them, since it joins the line ends around them with
    /// those of the conversation.
    fn encode(&self, prompt: &str, sizes: &[(u32, u32)]) -> Result<Vec<u32>, FamilyError> {
        let ids = self.tokenizer.encode_prompt(&prompt.replace(START_OF_IMAGE, &self.full_image_sequence))?;
        let (images, found) = (sizes.len(), ids.iter().filter(|id| **id == self.image_token).count());
        if found != images * self.tokens_per_image {
            return Err(FamilyError::Placeholders { placeholders: found / self.tokens_per_image, images });
        }
        Ok(ids)
    }

    fn token_grid(&self, size: (u32, u32)) -> Result<Option<TokenGrid>, FamilyError> {
        Ok(TokenGrid::square(self.projected, self.images.view(size)))
    }

    fn inputs(&self, sequences: Sequences, images: &[&RgbImage], device: &Device) -> Result<Inputs<Self>, FamilyError> {
        let pixels = (!images.is_empty()).then(|| self.images.pixels(images, device)).transpose()?;
        Ok(Inputs { sequences, pixels })
    }
}

/// What `preprocessor_config.json` and `processor_config.json` say, or Gemma 3's own processing where they say
/// nothing about images.
fn image_processor(dir: &Path, config: &SafeGemConfig) -> Result<SiglipProcessor, FamilyError> {
    let preprocessor = dir.join("preprocessor_config.json").is_file();
    let settings = image_settings(dir)?;
    if let Some(settings) = &settings {
        check_sequence_length(settings, config)?;
    }
    let processor = dir.join("processor_config.json");
    if preprocessor && processor.is_file() {
        check_sequence_length(&read_json(&processor)?, config)?;
    }
    // Published folders have a processor_config.json that says nothing about pixels.
    let Some(settings) = settings.filter(|settings| preprocessor || settings.get("image_processor").is_some()) else {
        return Ok(SiglipProcessor::new(&config.vision)?);
    };
    let images = SiglipProcessor::from_hf(&settings, &config.vision)?;
    if images.pan_and_scan().is_some() {
        let inner = settings.get("image_processor").unwrap_or(&settings);
        let fields = Fields::new("preprocessor_config.json", inner)?;
        let expected = "false, as in Gemma 3's own files: an image is seen whole, and judged once";
        return Err(fields.wrong("do_pan_and_scan", expected).into());
    }
    Ok(images)
}

/// The number of visual tokens in the prompt must be that of the projector.
fn check_sequence_length(settings: &Value, config: &SafeGemConfig) -> Result<(), FamilyError> {
    let fields = Fields::new("processor_config.json", settings)?;
    let tokens = config.projector.tokens();
    if fields.whole("image_seq_length", 1..=1 << 24, tokens)? != tokens {
        let expected = format!("{tokens}, which is `mm_tokens_per_image` in config.json");
        return Err(fields.wrong("image_seq_length", expected).into());
    }
    Ok(())
}
