//! What stands in the graph where a model has no such part.

use std::convert::Infallible;

use burn::module::Module;

use crate::image_tokens::ImageTokens;
use crate::seams::{Projector, VisionEncoder};

/// No vision encoder: there can be no pixels for it.
#[derive(Module, Debug, Default)]
pub struct NoVision;

impl VisionEncoder for NoVision {
    type Pixels = Infallible;

    fn encode(&self, pixels: Infallible) -> ImageTokens {
        match pixels {}
    }
}

/// No projector: the encoder's features are the visual tokens.
#[derive(Module, Debug, Default)]
pub struct NoProjector;

impl Projector for NoProjector {
    fn project(&self, features: ImageTokens) -> ImageTokens {
        features
    }
}
