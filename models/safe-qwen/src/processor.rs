//! Images to patches and conversations to token ids.

use std::path::Path;

use burn::tensor::Device;
use safevlm_core::fields::{FieldError, Fields};
use safevlm_core::{Conversation, RgbImage, View};
use safevlm_family::{Family, FamilyError, GuardConfig, Inputs, Published, TokenGrid, expand, image_settings};
use safevlm_nn::{NoProjector, PatchGrid, Sequences};
use safevlm_qwen::{Qwen, image_positions};
use safevlm_qwen_vision::{PixelRange, QwenImageError, QwenImageProcessor, QwenVision, QwenVisionConfig};
use safevlm_text::{ChatTemplate, PublishedTemplate, TextTokenizer};
use safevlm_weights::{Allow, KeyMap};
use serde_json::Value;

use crate::config::SafeQwenConfig;
use crate::keys::{allow, key_map};
use crate::model::SafeQwen;
use crate::published::PUBLISHED;

/// Stands for an image in the prompt; one of them for each of its visual tokens.
pub const IMAGE_TOKEN: &str = PublishedTemplate::Qwen25Vl.placeholder();

/// Between how many pixels a scaled image has, in the published `preprocessor_config.json` files.
const PUBLISHED_PIXELS: PixelRange = PixelRange { min: 3136, max: 12_845_056 };

/// Makes the model's inputs (reference: transformers `Qwen2_5_VLProcessor`).
#[derive(Debug)]
pub struct Processor {
    tokenizer: TextTokenizer,
    template: ChatTemplate,
    images: QwenImageProcessor,
    image_token: u32,
}

impl Processor {
    /// The image processor, with this folder's limits.
    pub fn images(&self) -> &QwenImageProcessor {
        &self.images
    }

    /// The grid of each image of those sizes after scaling.
    fn grids(&self, sizes: &[(u32, u32)]) -> Result<Vec<PatchGrid>, FamilyError> {
        let grid = |(width, height): &(u32, u32)| self.images.grid(*width, *height);
        sizes.iter().map(grid).collect::<Result<_, QwenImageError>>().map_err(FamilyError::images)
    }

    /// Side of the square of patches that become one visual token.
    fn merge(&self) -> usize {
        self.images.merge_size as usize
    }
}

impl Family for Processor {
    const MODEL_TYPES: &'static [&'static str] = &["qwen2_5_vl"];
    const PUBLISHED: &'static [Published] = PUBLISHED;

    type Vision = QwenVision;
    type Projector = NoProjector;
    type LanguageModel = Qwen;
    type Config = SafeQwenConfig;

    fn config(config: &Value) -> Result<SafeQwenConfig, FamilyError> {
        SafeQwenConfig::from_hf(config)
    }

    fn context(config: &SafeQwenConfig) -> usize {
        config.text.max_position_embeddings
    }

    fn vocab_size(config: &SafeQwenConfig) -> usize {
        config.text.vocab_size
    }

    fn guard(config: &SafeQwenConfig) -> Option<&GuardConfig> {
        config.guard.as_ref()
    }

    fn init(config: &SafeQwenConfig, device: &Device) -> SafeQwen {
        config.init(device)
    }

    fn key_map() -> KeyMap {
        key_map()
    }

    fn allow() -> Allow {
        allow()
    }

    fn open(dir: &Path, config: &SafeQwenConfig) -> Result<Self, FamilyError> {
        let tokenizer = TextTokenizer::from_dir(dir)?;
        if tokenizer.id(IMAGE_TOKEN) != Some(config.image_token) {
            return Err(FamilyError::Token { token: IMAGE_TOKEN });
        }
        Ok(Self {
            tokenizer,
            template: ChatTemplate::from_dir_or(dir, PublishedTemplate::Qwen25Vl)?,
            images: image_processor(image_settings(dir)?.as_ref(), &config.vision)?,
            image_token: config.image_token,
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
        let grids = self.grids(sizes)?;
        let counts: Vec<usize> = grids.iter().map(|grid| grid.merged(self.merge()).patches()).collect();
        expand(self.tokenizer.encode_prompt(prompt)?, self.image_token, &counts)
    }

    fn token_grid(&self, size: (u32, u32)) -> Result<Option<TokenGrid>, FamilyError> {
        let grid = self.images.grid(size.0, size.1).map_err(FamilyError::images)?.merged(self.merge());
        // The whole image is scaled, each side by a little of its own.
        Ok(Some(TokenGrid { columns: grid.columns, rows: grid.rows, view: View::whole(size) }))
    }

    fn inputs(&self, sequences: Sequences, images: &[&RgbImage], device: &Device) -> Result<Inputs<Self>, FamilyError> {
        // Before any pixel is touched: rows and images that do not belong together are found by their sizes.
        let sizes: Vec<(u32, u32)> = images.iter().map(|image| image.dimensions()).collect();
        let grids = self.grids(&sizes)?;
        let positions = image_positions(&sequences, &grids, self.merge()).map_err(FamilyError::images)?;
        let patches = (!images.is_empty()).then(|| self.images.patches(images, device));
        let pixels = patches.transpose().map_err(FamilyError::images)?;
        Ok(Inputs { sequences: sequences.with_positions(positions), pixels })
    }
}

/// The image processor that `settings` describe, which must cut the patches that `vision` reads. A folder without
/// settings, as SafeQwen's may be (its own sample takes the base model's processor), gets the published ones.
fn image_processor(settings: Option<&Value>, vision: &QwenVisionConfig) -> Result<QwenImageProcessor, FieldError> {
    let [patch, merge, frames] =
        [vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size].map(|size| size as u32);
    let Some(settings) = settings else {
        let sizes = QwenImageProcessor { patch_size: patch, merge_size: merge, ..QwenImageProcessor::default() };
        return Ok(QwenImageProcessor { temporal_patch_size: frames, pixels: PUBLISHED_PIXELS, ..sizes });
    };
    let read = QwenImageProcessor::from_hf(settings)?;
    let pairs = [
        ("patch_size", read.patch_size, patch),
        ("merge_size", read.merge_size, merge),
        ("temporal_patch_size", read.temporal_patch_size, frames),
    ];
    match pairs.into_iter().find(|(_, found, expected)| found != expected) {
        None => Ok(read),
        Some((key, _, expected)) => {
            let fields = settings.get("image_processor").unwrap_or(settings);
            let fields = Fields::new("preprocessor_config.json", fields)?;
            Err(fields.wrong(key, format!("{expected}, as in config.json's `vision_config`")))
        }
    }
}
