//! The two-layer projector that most vision-language models use.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;

use crate::activation::Activation;
use crate::image_tokens::ImageTokens;
use crate::linear::{Linear, LinearConfig};
use crate::seams::Projector;

/// Configuration of [`MlpProjector`].
#[derive(Config, Debug)]
pub struct MlpProjectorConfig {
    /// Width of the vision features.
    pub vision: usize,
    /// Width of the language model.
    pub hidden: usize,
}

impl MlpProjectorConfig {
    /// The projector with default initialisation.
    pub fn init(&self, device: &Device) -> MlpProjector {
        MlpProjector {
            linear_1: LinearConfig::new(self.vision, self.hidden).init(device),
            linear_2: LinearConfig::new(self.hidden, self.hidden).init(device),
        }
    }
}

/// `linear_2(gelu(linear_1(x)))` with the exact GELU (reference: transformers
/// `LlavaMultiModalProjector`).
#[derive(Module, Debug)]
pub struct MlpProjector {
    /// `[hidden, vision]`.
    pub linear_1: Linear,
    /// `[hidden, hidden]`.
    pub linear_2: Linear,
}

impl Projector for MlpProjector {
    fn project(&self, features: ImageTokens) -> ImageTokens {
        features.map(|x| self.linear_2.forward_2d(Activation::Gelu.forward(self.linear_1.forward_2d(x))))
    }
}
