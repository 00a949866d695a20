//! The traits by which the parts of a vision-language model fit together.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};

use crate::kv_cache::KvCache;
use crate::mask::AttentionMask;
use crate::positions::Positions;

/// Turns pixels into features.
pub trait VisionEncoder: Module {
    /// # Shapes
    ///
    /// - pixels `[images, 3, height, width]`, normalised as the encoder expects
    /// - output `[images, tokens, width]`, rows of the feature map one after another
    fn encode(&self, pixels: Tensor<4>) -> Tensor<3>;
}

/// Turns vision features into visual tokens that a language model can read.
pub trait Projector: Module {
    /// # Shapes
    ///
    /// - features `[images, tokens, width]`
    /// - output `[images, tokens, hidden]`
    fn project(&self, features: Tensor<3>) -> Tensor<3>;
}

/// A decoder-only language model.
pub trait CausalLm: Module {
    /// # Shapes
    ///
    /// - ids `[batch, tokens]`
    /// - output `[batch, tokens, hidden]`
    fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3>;

    /// Runs all layers and the final norm. With a `cache`, the embeddings follow the tokens that it
    /// holds, and are added to it.
    ///
    /// # Shapes
    ///
    /// - embeddings and output `[batch, tokens, hidden]`
    fn forward(
        &self,
        embeddings: Tensor<3>,
        positions: &Positions,
        mask: &AttentionMask,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3>;

    /// # Shapes
    ///
    /// - hidden `[rows, hidden]`, as [`forward`](Self::forward) returns them
    /// - output `[rows, vocabulary]`
    fn logits(&self, hidden: Tensor<2>) -> Tensor<2>;

    /// An empty cache for `capacity` tokens in each of `batch` rows.
    fn new_cache(&self, batch: usize, capacity: usize, device: &Device) -> KvCache;
}

/// Classifies an image from the language model's states of its visual tokens.
pub trait GuardHead: Module {
    /// # Shapes
    ///
    /// - hidden `[batch, tokens, hidden]`, after the language model's final norm
    /// - visual `[batch, tokens]`, true at visual tokens
    /// - output `[batch, classes]`, logits
    fn classify(&self, hidden: Tensor<3>, visual: Tensor<2, Bool>) -> Tensor<2>;
}

/// A model whose linear layers can get LoRA adapters.
pub trait AttachLora: Module {
    /// Freezes every layer named in `targets` (as in the checkpoint: `q_proj`, `down_proj`, ..) and
    /// puts a fresh trainable adapter beside it.
    fn attach_lora(self, targets: &[String], rank: usize, alpha: f64) -> Self;
}
