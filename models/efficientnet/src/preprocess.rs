//! From an image to the pixels that the encoder expects.

use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::image::RgbImage;
use safevlm_core::resize::{ResizeError, ResizeFilter, resize};
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

/// An image longer than this many times its width is first cut to its middle: the crop drops the rest
/// in any case, and a 1 x 60,000 image must not become one of 256 x 15,000,000.
const MAX_ASPECT: u32 = 8;

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
                let (width, height) = image.dimensions();
                let longest = width.min(height).saturating_mul(MAX_ASPECT);
                if width.max(height) > longest {
                    return self.scale_and_crop(&centre(image, width.min(longest), height.min(longest)));
                }
                self.scale_and_crop(image)
            }
        }
    }

    fn scale_and_crop(&self, image: &RgbImage) -> Result<RgbImage, ResizeError> {
        let (width, height) = image.dimensions();
        let shorter = (f64::from(self.size) / self.crop_pct.min(1.0)).floor() as u32;
        // torchvision rounds the longer side down.
        let scaled = |side: u32| {
            let exact = u64::from(shorter) * u64::from(side) / u64::from(width.min(height).max(1));
            u32::try_from(exact).unwrap_or(u32::MAX)
        };
        let scaled = resize(image, scaled(width), scaled(height), self.interpolation)?;
        Ok(centre(&scaled, self.size, self.size))
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
        let mut values = Vec::with_capacity(images.len() * 3 * side * side);
        for image in images {
            let square = self.square(image)?;
            for channel in 0..3 {
                values.extend(square.pixels().map(|p| normalise(p.0[channel])));
            }
        }
        Ok(Tensor::from_data(TensorData::new(values, [images.len(), 3, side, side]), device))
    }
}

/// In torchvision's order: to 0..=1, less the mean, over the deviation.
fn normalise(value: u8) -> f32 {
    (f32::from(value) / 255.0 - 0.5) / 0.5
}

/// The middle of an image; where it cannot be exact, torchvision's `center_crop` decides: the offset
/// is rounded, a half to the even side.
fn centre(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let offset = |whole: u32, part: u32| (f64::from(whole.saturating_sub(part)) / 2.0).round_ties_even() as u32;
    let (left, top) = (offset(image.width(), width), offset(image.height(), height));
    RgbImage::from_fn(width.min(image.width()), height.min(image.height()), |x, y| *image.get_pixel(left + x, top + y))
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
