//! From images to the pixels that the encoder expects.

use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::fields::{FieldError, Fields};
use safevlm_core::image::RgbImage;
use safevlm_core::image_processor::{ImageProcessor, ProcessorDefaults};
use safevlm_core::resize::{ResizeError, ResizeFilter};
use safevlm_core::view::View;
use serde_json::Value;

use crate::config::SiglipVisionConfig;
use crate::pan_and_scan::PanAndScan;

/// The attributes of transformers' `Gemma3ImageProcessor`.
const DEFAULTS: ProcessorDefaults = ProcessorDefaults {
    filter: ResizeFilter::Bilinear,
    size: 224,
    square: true,
    crop: None,
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// Both sides to the encoder's size, whatever the shape, and normalisation; every value equal to that
/// of transformers' `Gemma3ImageProcessorPil`.
#[derive(Debug, Clone, PartialEq)]
pub struct SiglipProcessor {
    processor: ImageProcessor,
    pan_and_scan: Option<PanAndScan>,
}

impl SiglipProcessor {
    /// Gemma 3's own processing at the size of `encoder`, for a folder without
    /// `preprocessor_config.json`.
    ///
    /// # Errors
    ///
    /// If the side that `encoder` takes is not from 1 to 16384 pixels.
    pub fn new(encoder: &SiglipVisionConfig) -> Result<Self, FieldError> {
        Self::from_hf(&serde_json::json!({"size": encoder.image_size}), encoder)
    }

    /// Reads a `preprocessor_config.json` or a `processor_config.json`.
    ///
    /// # Errors
    ///
    /// If a value has another type, asks for something that is not done here, or makes images that
    /// `encoder` does not take.
    pub fn from_hf(config: &Value, encoder: &SiglipVisionConfig) -> Result<Self, FieldError> {
        let inner = Fields::new("preprocessor_config.json", config.get("image_processor").unwrap_or(config))?;
        Ok(Self {
            processor: ImageProcessor::from_hf(config, encoder.image_size, &DEFAULTS)?,
            pan_and_scan: PanAndScan::from_fields(&inner)?,
        })
    }

    /// Whether images are also seen in pieces: then the prompt needs a place for each piece.
    pub fn pan_and_scan(&self) -> Option<PanAndScan> {
        self.pan_and_scan
    }

    /// The part of an image of that width and height that the encoder sees.
    pub fn view(&self, size: (u32, u32)) -> View {
        self.processor.view(size)
    }

    /// Pixels of several images, whole.
    ///
    /// # Shapes
    ///
    /// - output `[images, 3, image_size, image_size]`
    ///
    /// # Errors
    ///
    /// If an image has no pixels, or is absurdly large.
    pub fn pixels(&self, images: &[&RgbImage], device: &Device) -> Result<Tensor<4>, ResizeError> {
        let side = self.processor.side() as usize;
        let data = TensorData::new(self.processor.planes(images)?, [images.len(), 3, side, side]);
        Ok(Tensor::from_data(data, device))
    }

    /// Pixels of one image, whole, and with pan-and-scan of its pieces behind it.
    ///
    /// # Shapes
    ///
    /// - output `[1 + pieces, 3, image_size, image_size]`
    ///
    /// # Errors
    ///
    /// As for [`pixels`](Self::pixels).
    pub fn views(&self, image: &RgbImage, device: &Device) -> Result<Tensor<4>, ResizeError> {
        let crops = self.pan_and_scan.map_or_else(Vec::new, |pan| pan.crops(image));
        let views: Vec<&RgbImage> = std::iter::once(image).chain(&crops).collect();
        self.pixels(&views, device)
    }
}
