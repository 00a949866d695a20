//! The traits by which the parts of a vision-language model fit together.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::embedding::Embedding;
use crate::image_tokens::ImageTokens;
use crate::kv_cache::KvCache;
use crate::linear::{Linear, LoraAdapterConfig};
use crate::mask::AttentionMask;
use crate::positions::Positions;
use crate::weight::Weight;

/// Turns pixels into features.
pub trait VisionEncoder: Module + ModuleDisplay {
    /// What the encoder sees: `[images, 3, height, width]`, normalised as it expects, where all images
    /// are made equal, or patches with their grids.
    type Pixels: Clone + std::fmt::Debug;

    /// # Shapes
    ///
    /// - output `[tokens of all images, width]`, of each image rows of the feature map one after another
    fn encode(&self, pixels: Self::Pixels) -> ImageTokens;
}

/// Turns vision features into visual tokens that a language model can read.
pub trait Projector: Module + ModuleDisplay {
    /// # Shapes
    ///
    /// - features `[features of all images, width]`
    /// - output `[visual tokens of all images, hidden]`
    fn project(&self, features: ImageTokens) -> ImageTokens;
}

/// A decoder-only language model.
pub trait CausalLm: Module + ModuleDisplay + Sync {
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

    /// Hands every large matrix to `visit`, under the last part of its name in a checkpoint: `q_proj`, `down_proj`,
    /// `embed_tokens`, ...
    fn matrices(&mut self, visit: &mut dyn FnMut(&str, Matrix<'_>));

    /// Freezes every linear layer that `targets` name, and puts a fresh trainable adapter beside it.
    fn attach_lora(mut self, targets: &[String], config: &LoraAdapterConfig) -> Self
    where
        Self: Sized,
    {
        self.matrices(&mut |name, matrix| {
            if let Matrix::Linear(linear) = matrix
                && targets.iter().any(|target| target == name)
            {
                *linear = linear.clone().with_lora(config);
            }
        });
        self
    }
}

/// A matrix of a language model, with what it belongs to.
#[derive(Debug)]
pub enum Matrix<'a> {
    /// A linear layer.
    Linear(&'a mut Linear),
    /// The embedding table, which may be the output head too.
    Embedding(&'a mut Embedding),
}

impl Matrix<'_> {
    /// The matrix itself.
    pub fn weight(&mut self) -> &mut Weight {
        match self {
            Self::Linear(linear) => &mut linear.weight,
            Self::Embedding(embedding) => &mut embedding.weight,
        }
    }
}

/// Classifies images.
pub trait GuardHead: Module + ModuleDisplay {
    /// # Shapes
    ///
    /// - states `[visual tokens of all images, hidden]`: the language model's, after its final norm, or
    ///   the projector's, as [`input`](Self::input) asks
    /// - output `[images, classes]`, logits
    fn classify(&self, states: ImageTokens) -> Tensor<2>;

    /// What it says of each visual token alone, as if the token were a whole image; none for a head with a
    /// meta token, which looks at no visual token. The mean of these is not what [`classify`](Self::classify)
    /// gives, since what lies between two linear layers is not linear.
    ///
    /// # Shapes
    ///
    /// - states `[visual tokens of all images, hidden]`, as for [`classify`](Self::classify)
    /// - output `[visual tokens of all images, classes]`, logits
    fn classify_tokens(&self, states: ImageTokens) -> Option<Tensor<2>> {
        self.meta_token().is_none().then(|| self.classify(states.single()))
    }

    /// What it looks at.
    fn input(&self) -> GuardInput {
        GuardInput::HiddenStates
    }

    /// An embedding `[1, hidden]` that stands behind the visual tokens of each image, as one of them.
    fn meta_token(&self) -> Option<Tensor<2>> {
        None
    }
}

/// What a guard head looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardInput {
    /// The language model's last hidden states of the visual tokens (arXiv 2506.04704 v5, section 4).
    #[default]
    HiddenStates,
    /// The visual tokens as the projector makes them, before the language model.
    Projector,
}
