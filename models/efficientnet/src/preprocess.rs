//! From an image to the pixels that the encoder expects.

use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::canvas::Canvas;
use safevlm_core::image::RgbImage;
use safevlm_core::pixels::PixelValues;
use safevlm_core::resize::{Region, ResizeError, ResizeFilter, resize, resize_region, scale_shorter};
use serde::{Deserialize, Serialize};

use crate::config::EfficientNetConfig;

/// How an image of any shape becomes a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Scale the shorter side to `size / crop_pct` and cut out the middle: timm's evaluation transform.
    Crop,
    /// Scale both sides to `size`, so that nothing at the border is lost.
    Squash,
}

/// The steps before the encoder (reference: timm `create_transform(.., is_training=False)`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Side of the square, in pixels.
    pub size: u32,
    /// Side of the square as a share of the resized shorter side; 0.875 for Lite0. Only for cropping.
    pub crop_pct: f64,
    /// How the square is made.
    pub framing: Framing,
    /// Filter of the resize.
    pub interpolation: ResizeFilter,
}

impl Preprocess {
    /// timm's evaluation transform for this network.
    pub fn new(config: &EfficientNetConfig) -> Self {
        Self {
            size: config.image_size as u32,
            crop_pct: config.crop_pct,
            framing: Framing::Crop,
            interpolation: config.interpolation,
        }
    }

    /// The square of 8-bit pixels.
    ///
    /// # Errors
    ///
    /// If the image has no pixels, or `size` or `crop_pct` make no sense.
    pub fn square(&self, image: &RgbImage) -> Result<RgbImage, ResizeError> {
        match self.framing {
            Framing::Squash => resize(image, self.size, self.size, self.interpolation),
            Framing::Crop => {
                let shorter = (f64::from(self.size) / self.crop_pct.min(1.0)).floor() as u32;
                let to = scale_shorter(image.dimensions(), shorter);
                // torchvision's `center_crop`: a half is rounded to the even side.
                let offset = |spare: u32| (f64::from(spare) / 2.0).round_ties_even() as u32;
                let middle = Region::centre(to, (self.size, self.size), offset);
                resize_region(&Canvas::of(image), to, middle, self.interpolation)
            }
        }
    }

    /// Pixels of several images, normalised to -1..=1 (mean and standard deviation 0.5).
    ///
    /// # Shapes
    ///
    /// - output `[images, 3, size, size]`
    ///
    /// # Errors
    ///
    /// As for [`square`](Self::square).
    pub fn batch(&self, images: &[&RgbImage], device: &Device) -> Result<Tensor<4>, ResizeError> {
        let side = self.size as usize;
        let squares = images.iter().map(|image| self.square(image)).collect::<Result<Vec<_>, _>>()?;
        // In torchvision's order: to 0..=1, less the mean, over the deviation.
        let values = PixelValues::new(|_, level| (f32::from(level) / 255.0 - 0.5) / 0.5).planes(&squares);
        Ok(Tensor::from_data(TensorData::new(values, [images.len(), 3, side, side]), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lite0() -> Preprocess {
        Preprocess { size: 224, crop_pct: 0.875, framing: Framing::Crop, interpolation: ResizeFilter::Bicubic }
    }

    #[test]
    fn every_shape_becomes_a_square() {
        for (width, height) in [(1, 1), (1, 60_000), (9_000, 3), (225, 224), (300, 451)] {
            let image = RgbImage::from_pixel(width, height, image::Rgb([9, 80, 200]));
            for framing in [Framing::Crop, Framing::Squash] {
                let square = Preprocess { framing, ..lite0() }.square(&image).unwrap();
                assert_eq!(square.dimensions(), (224, 224), "{width}x{height}");
                assert!(square.pixels().all(|p| p.0 == [9, 80, 200]));
            }
        }
    }

    #[test]
    fn senseless_settings_are_errors() {
        let image = RgbImage::new(4, 4);
        assert!(Preprocess { size: 0, ..lite0() }.square(&image).is_err());
        assert!(Preprocess { crop_pct: 0.0, ..lite0() }.square(&image).is_err());
        assert!(lite0().square(&RgbImage::new(0, 3)).is_err());
    }
}
