//! The trait that an assembled model implements.

use std::fmt::Debug;
use std::path::Path;

use burn::tensor::Device;
use safevlm_core::{Conversation, RgbImage};
use safevlm_nn::{CausalLm, Padding, Projector, Sequences, VisionEncoder, Vlm};
use safevlm_text::TextTokenizer;
use safevlm_vgm::Vgm;
use safevlm_weights::{Allow, KeyMap};
use serde_json::Value;

use crate::error::FamilyError;
use crate::guard::GuardConfig;
use crate::published::Published;
use crate::token_grid::TokenGrid;

/// The graph of a family.
pub type ModelOf<F> = Vlm<<F as Family>::Vision, <F as Family>::Projector, <F as Family>::LanguageModel, Vgm>;

/// A family of vision-language models: which parts its graph has, and what is particular about its
/// files, pixels and prompts. A value of it is the processor of one model folder.
pub trait Family: Debug + Send + Sized {
    /// What `model_type` in `config.json` may be; the first is the usual one.
    const MODEL_TYPES: &'static [&'static str];
    /// The sizes that are published, as `safevlm inspect --preset` names them.
    const PUBLISHED: &'static [Published] = &[];

    /// Pixels to features.
    type Vision: VisionEncoder;
    /// Features to visual tokens.
    type Projector: Projector;
    /// Tokens to hidden states and logits.
    type LanguageModel: CausalLm;
    /// Sizes of all parts.
    type Config: Clone + Debug + Sync;

    /// Reads the parsed `config.json`.
    ///
    /// # Errors
    ///
    /// If a key is missing, has another type, or asks for something that would silently change the
    /// numbers.
    fn config(config: &Value) -> Result<Self::Config, FamilyError>;

    /// Longest sequence, in tokens.
    fn context(config: &Self::Config) -> usize;

    /// Number of rows of the embedding table.
    fn vocab_size(config: &Self::Config) -> usize;

    /// The guard head and its labels; a base model has none.
    fn guard(config: &Self::Config) -> Option<&GuardConfig>;

    /// The graph with lazily drawn weights; loading a checkpoint replaces them before they are made.
    fn init(config: &Self::Config, device: &Device) -> ModelOf<Self>;

    /// Checkpoint name → field name, for every layout that the family's files have had.
    fn key_map() -> KeyMap;

    /// Tensors that a checkpoint may lack or have besides.
    fn allow() -> Allow {
        Allow::nothing()
    }

    /// Reads the tokenizer, chat template and image settings of a model folder.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or does not belong to the model.
    fn open(dir: &Path, config: &Self::Config) -> Result<Self, FamilyError>;

    /// The tokenizer, with the token that stands for an image.
    fn tokenizer(&self) -> &TextTokenizer;

    /// The id that stands for one visual token; none for a model that sees no images.
    fn image_token(&self) -> Option<u32>;

    /// `conversation` as the chat template writes it, with a placeholder for each image, up to where the answer begins
    /// or, if its last turn is an answer, behind it.
    ///
    /// # Errors
    ///
    /// If the chat template refuses the conversation.
    fn render(&self, conversation: &Conversation) -> Result<String, FamilyError>;

    /// Token ids of a `prompt` that [`render`](Self::render) wrote, every image as its visual tokens. `sizes` has the
    /// width and height of each image, in pixels; the pixels themselves do not matter here.
    ///
    /// # Errors
    ///
    /// If the tokenizer refuses the text, or an image cannot be shown.
    fn encode(&self, prompt: &str, sizes: &[(u32, u32)]) -> Result<Vec<u32>, FamilyError>;

    /// Token ids of `conversation` up to where the answer begins, with images of those sizes.
    ///
    /// # Errors
    ///
    /// As [`render`](Self::render) and [`encode`](Self::encode).
    fn prompt_for(&self, conversation: &Conversation, sizes: &[(u32, u32)]) -> Result<Vec<u32>, FamilyError> {
        self.encode(&self.render(conversation)?, sizes)
    }

    /// [`prompt_for`](Self::prompt_for) the conversation's own images.
    ///
    /// # Errors
    ///
    /// As [`prompt_for`](Self::prompt_for).
    fn prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, FamilyError> {
        self.prompt_for(conversation, &sizes(conversation))
    }

    /// Token ids of `conversation` up to where the answer begins, and those of `answer` as the model should give it. It
    /// ends with the first of the ids `ends` that the template writes behind an answer, or with the first of them where
    /// it writes none.
    ///
    /// # Errors
    ///
    /// As [`prompt`](Self::prompt), or if the template writes the conversation otherwise when it has been answered, so
    /// that nothing can be learned from it.
    fn answered(
        &self,
        conversation: &Conversation,
        answer: &str,
        ends: &[u32],
    ) -> Result<(Vec<u32>, Vec<u32>), FamilyError> {
        let sizes = sizes(conversation);
        let whole = self.render(&conversation.clone().assistant(answer))?;
        let prompt = self.encode(&self.render(conversation)?, &sizes)?;
        // White space behind an answer parts it from what comes next, which is nothing here.
        let whole = self.encode(whole.trim_end(), &sizes)?;
        let ids = whole.strip_prefix(&prompt[..]).filter(|ids| !ids.is_empty()).ok_or(FamilyError::Answer)?;
        let end = ids.iter().position(|id| ends.contains(id));
        let mut ids = ids[..end.map_or(ids.len(), |end| end + 1)].to_vec();
        if end.is_none() {
            ids.extend(ends.first());
        }
        Ok((prompt, ids))
    }

    /// How the visual tokens of an image of that width and height lie over it; none if they lie in no grid.
    ///
    /// # Errors
    ///
    /// If the image cannot be shown.
    fn token_grid(&self, size: (u32, u32)) -> Result<Option<TokenGrid>, FamilyError>;

    /// What goes into one forward pass: `sequences` of token ids as [`prompt`](Self::prompt) makes them, and
    /// their images in reading order.
    ///
    /// # Errors
    ///
    /// If an image cannot be shown, or rows and images do not belong together.
    fn inputs(&self, sequences: Sequences, images: &[&RgbImage], device: &Device) -> Result<Inputs<Self>, FamilyError>;

    /// [`inputs`](Self::inputs) of `rows`, padded to the longest.
    ///
    /// # Errors
    ///
    /// As [`inputs`](Self::inputs).
    fn inputs_of(
        &self,
        rows: Vec<Vec<u32>>,
        padding: Padding,
        images: &[&RgbImage],
        device: &Device,
    ) -> Result<Inputs<Self>, FamilyError> {
        self.inputs(Sequences::new(rows, self.image_token(), 0, padding), images, device)
    }
}

/// Width and height of each image.
fn sizes(conversation: &Conversation) -> Vec<(u32, u32)> {
    conversation.images.iter().map(|image| image.dimensions()).collect()
}

/// The inputs of one forward pass.
pub struct Inputs<F: Family> {
    /// Token rows, with positions of their own where the family has such.
    pub sequences: Sequences,
    /// What the vision encoder sees; none without images.
    pub pixels: Option<<F::Vision as VisionEncoder>::Pixels>,
}
