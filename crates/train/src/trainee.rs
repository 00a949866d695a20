//! The families that can be trained, and what grounding asks of their encoders.

use burn::tensor::Tensor;
use safevlm_clip::ClipVision;
use safevlm_efficientnet::EfficientNet;
use safevlm_family::{Family, Published};
use safevlm_nn::{ImageTokens, VisionEncoder};
use safevlm_qwen_vision::QwenVision;
use safevlm_siglip::SiglipVision;
use serde_json::Value;

use crate::error::TrainError;

/// A family that can be trained.
pub trait Trainee: Family<Vision: CutEncoder> {}

impl<F: Family<Vision: CutEncoder>> Trainee for F {}

/// An encoder that may be computed in two halves, of which only the second learns.
pub trait CutEncoder: VisionEncoder {
    /// The maps before block `cut`, `[images, channels, height, width]`; none for an encoder that cannot be cut.
    fn until(&self, _pixels: Self::Pixels, _cut: usize) -> Option<Tensor<4>> {
        None
    }

    /// The features of such maps, by the blocks from `cut` on.
    fn from(&self, _maps: Tensor<4>, _cut: usize) -> Option<ImageTokens> {
        None
    }
}

impl CutEncoder for EfficientNet {
    fn until(&self, pixels: Tensor<4>, cut: usize) -> Option<Tensor<4>> {
        Some(self.forward_until(pixels, cut))
    }

    fn from(&self, maps: Tensor<4>, cut: usize) -> Option<ImageTokens> {
        Some(ImageTokens::equal(EfficientNet::tokens(self.forward_from(maps, cut))))
    }
}

impl CutEncoder for ClipVision {}
impl CutEncoder for QwenVision {}
impl CutEncoder for SiglipVision {}

/// Something to do with a family of which only the `model_type` is known.
pub(crate) trait WithTrainee {
    /// What it gives.
    type Output;

    /// Does it.
    fn run<F: Trainee>(self) -> Result<Self::Output, TrainError>;
}

macro_rules! families {
    ($($family:ty),*) => {
        /// Does `todo` with the family of the model `base`, whose parsed `config.json` is `config`.
        pub(crate) fn with_trainee<W: WithTrainee>(
            base: &str,
            config: &Value,
            todo: W,
        ) -> Result<W::Output, TrainError> {
            let found = config["model_type"].as_str().unwrap_or("missing");
            $(if <$family as Family>::MODEL_TYPES.contains(&found) {
                return todo.run::<$family>();
            })*
            let known = [$(<$family as Family>::MODEL_TYPES[0]),*].join(", ");
            Err(TrainError::Family { base: base.to_owned(), found: found.to_owned(), known })
        }

        /// The `config.json` of the published size that the name of a model folder begins with, such as
        /// `llava-1.5-7b-hf`.
        pub(crate) fn published_config(name: &str) -> Option<Value> {
            let name = name.to_lowercase();
            let sizes = [$(<$family as Family>::PUBLISHED),*].concat();
            let is_of = |size: &&Published| {
                name.starts_with(size.name)
                    || name.starts_with(&size.name.replace("safe-gem-", "gemma-3-").replace("safe-", ""))
            };
            sizes.iter().find(is_of).map(Published::config)
        }
    };
}

families!(
    safevlm_safe_smol::Processor,
    safevlm_safe_llava::Processor,
    safevlm_safe_qwen::Processor,
    safevlm_safe_gem::Processor
);
