//! From images to the pixels that the encoder expects.

use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::fields::{FieldError, Fields};
use safevlm_core::image::RgbImage;
use safevlm_core::image_processor::{ImageProcessor, ProcessorDefaults};
use safevlm_core::resize::{ResizeError, ResizeFilter};
use safevlm_core::view::View;
use serde_json::Value;

use crate::config::ClipVisionConfig;

/// The attributes of transformers' `CLIPImageProcessor`; mean and deviation are OpenAI's.
const DEFAULTS: ProcessorDefaults = ProcessorDefaults {
    filter: ResizeFilter::Bicubic,
    size: 224,
    square: false,
    crop: Some(224),
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
};

/// Shorter side to the encoder's size, centre crop, normalisation; every value equal to that of
/// transformers' `CLIPImageProcessorPil` and `LlavaImageProcessorPil`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipProcessor(ImageProcessor);

impl ClipProcessor {
    /// CLIP's own processing at the size of `encoder`, for a folder without `preprocessor_config.json`.
    ///
    /// # Errors
    ///
    /// If the side that `encoder` takes is not from 1 to 16384 pixels.
    pub fn new(encoder: &ClipVisionConfig) -> Result<Self, FieldError> {
        let size = serde_json::json!({"size": encoder.image_size, "crop_size": encoder.image_size});
        Self::from_hf(&size, encoder)
    }

    /// Reads a `preprocessor_config.json`, old or new, or a `processor_config.json`.
    ///
    /// # Errors
    ///
    /// If a value has another type, asks for something that is not done here, or makes images that
    /// `encoder` does not take.
    pub fn from_hf(config: &Value, encoder: &ClipVisionConfig) -> Result<Self, FieldError> {
        Ok(Self(ImageProcessor::from_hf(config, encoder.image_size, &DEFAULTS)?))
    }

    /// The same with what `image_aspect_ratio` in the outer part of an original LLaVA `config.json`
    /// says: `pad` pads images to squares of the mean colour, so that nothing is cropped away.
    ///
    /// # Errors
    ///
    /// If it is something else than `pad` or `square`, which is the same as silence.
    pub fn with_aspect_ratio_of(self, config: &Value) -> Result<Self, FieldError> {
        let fields = Fields::new("config.json", config)?;
        match (fields.get("image_aspect_ratio"), fields.text("image_aspect_ratio", "square")?) {
            (None, _) => Ok(self),
            (_, "pad") => Ok(Self(self.0.with_padding(true))),
            (_, "square") => Ok(Self(self.0.with_padding(false))),
            _ => Err(fields.wrong("image_aspect_ratio", "\"pad\" or \"square\"")),
        }
    }

    /// The same with or without padding to squares.
    pub fn with_padding(self, pad: bool) -> Self {
        Self(self.0.with_padding(pad))
    }

    /// Whether images are padded to squares.
    pub fn pads(&self) -> bool {
        self.0.pads()
    }

    /// The part of an image of that width and height that the encoder sees.
    pub fn view(&self, size: (u32, u32)) -> View {
        self.0.view(size)
    }

    /// Pixels of several images.
    ///
    /// # Shapes
    ///
    /// - output `[images, 3, image_size, image_size]`
    ///
    /// # Errors
    ///
    /// If an image has no pixels, or is absurdly long.
    pub fn pixels(&self, images: &[&RgbImage], device: &Device) -> Result<Tensor<4>, ResizeError> {
        let side = self.0.side() as usize;
        let data = TensorData::new(self.0.planes(images)?, [images.len(), 3, side, side]);
        Ok(Tensor::from_data(data, device))
    }
}
