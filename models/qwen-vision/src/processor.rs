//! From images to the patches that the encoder expects.

use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::fields::{FieldError, Fields};
use safevlm_core::image::RgbImage;
use safevlm_core::resize::{ResizeError, ResizeFilter, resize};
use safevlm_nn::PatchGrid;
use serde_json::Value;
use thiserror::Error;

use crate::smart_resize::{MAX_ASPECT, PixelRange, smart_resize};

/// The most pixels that the scaled images of one call may have together (their patches are 1.5 GiB).
pub const MAX_PIXELS: u64 = 64 << 20;

const FILE: &str = "preprocessor_config.json";

/// The image processor (reference: transformers `Qwen2VLImageProcessor` in its PIL form).
#[derive(Clone, Debug, PartialEq)]
pub struct QwenImageProcessor {
    /// Between how many pixels a scaled image should have.
    pub pixels: PixelRange,
    /// Side of a patch, in pixels.
    pub patch_size: u32,
    /// Frames in a patch; a still image is repeated.
    pub temporal_patch_size: u32,
    /// Side of the square of patches that become one visual token.
    pub merge_size: u32,
    /// Factor from 8-bit values to 0..=1.
    pub rescale_factor: f64,
    /// Mean of each channel, after rescaling.
    pub image_mean: [f64; 3],
    /// Standard deviation of each channel.
    pub image_std: [f64; 3],
}

/// The patches of a batch of images.
#[derive(Clone, Debug)]
pub struct Patches {
    /// `[patches of all images, 3 · frames · height · width]`.
    pub values: Tensor<2>,
    /// The grid of each image.
    pub grids: Vec<PatchGrid>,
}

/// Why images cannot become patches.
#[derive(Debug, Error)]
pub enum QwenImageError {
    /// The image is a line.
    #[error("the image is {width}x{height} pixels: one side is more than {MAX_ASPECT} times the other; crop it")]
    AspectRatio {
        /// Width, in pixels.
        width: u32,
        /// Height, in pixels.
        height: u32,
    },
    /// All images together are too many pixels.
    #[error(
        "the images have {pixels} pixels in all after scaling, more than {MAX_PIXELS}; give fewer at a time, or lower \
         `max_pixels`"
    )]
    TooManyPixels {
        /// Pixels of all scaled images.
        pixels: u64,
    },
    /// An image cannot be scaled.
    #[error(transparent)]
    Resize(#[from] ResizeError),
}

impl Default for QwenImageProcessor {
    /// The reference's defaults; the statistics are CLIP's.
    fn default() -> Self {
        Self {
            pixels: PixelRange { min: 56 * 56, max: 28 * 28 * 1280 },
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
        }
    }
}

impl QwenImageProcessor {
    /// Reads `preprocessor_config.json`, or `processor_config.json`, which holds the same under
    /// `image_processor`. The limits are `min_pixels` and `max_pixels`, or `shortest_edge` and
    /// `longest_edge` of `size`, which count pixels too.
    ///
    /// # Errors
    ///
    /// If a value has another type, is out of range, or asks for something that would silently change
    /// the numbers.
    pub fn from_hf(preprocessor_config: &Value) -> Result<Self, FieldError> {
        let fields = Fields::new(FILE, preprocessor_config.get("image_processor").unwrap_or(preprocessor_config))?;
        if !fields.text("image_processor_type", "Qwen2VLImageProcessor")?.starts_with("Qwen2") {
            return Err(fields.wrong("image_processor_type", "Qwen2VLImageProcessor"));
        }
        for key in ["do_resize", "do_rescale", "do_normalize"] {
            if !fields.flag(key, true)? {
                return Err(fields.wrong(key, "true: the encoder was trained so"));
            }
        }
        // PIL's number for bicubic.
        fields.whole("resample", 3..=3, 3)?;
        let default = Self::default();
        let side = |key: &str, default: u32| Ok(fields.whole(key, 1..=256, default as usize)? as u32);
        let image_std = channels(&fields, "image_std", default.image_std)?;
        if image_std.iter().any(|std| *std <= 0.0) {
            return Err(fields.wrong("image_std", "three numbers above 0"));
        }
        Ok(Self {
            pixels: pixel_range(&fields, default.pixels)?,
            patch_size: side("patch_size", default.patch_size)?,
            temporal_patch_size: side("temporal_patch_size", default.temporal_patch_size)?,
            merge_size: side("merge_size", default.merge_size)?,
            rescale_factor: fields.positive("rescale_factor", default.rescale_factor)?,
            image_mean: channels(&fields, "image_mean", default.image_mean)?,
            image_std,
        })
    }

    /// Width and height to which an image is scaled.
    ///
    /// # Errors
    ///
    /// As for [`smart_resize`].
    pub fn scaled_size(&self, width: u32, height: u32) -> Result<(u32, u32), QwenImageError> {
        smart_resize(width, height, self.patch_size * self.merge_size, self.pixels)
    }

    /// The grid of an image, without touching its pixels.
    ///
    /// # Errors
    ///
    /// As for [`smart_resize`].
    pub fn grid(&self, width: u32, height: u32) -> Result<PatchGrid, QwenImageError> {
        let (width, height) = self.scaled_size(width, height)?;
        Ok(PatchGrid::image((height / self.patch_size) as usize, (width / self.patch_size) as usize))
    }

    /// Scales, normalises and cuts the images. The four patches of a visual token follow one another, and
    /// the values of a patch are channel, frame, row, column.
    ///
    /// # Shapes
    ///
    /// - values of the output `[patches of all images, 3 · frames · height · width]`
    ///
    /// # Errors
    ///
    /// If an image has no pixels, is too long for its width, or all together are too large. Sizes are
    /// checked before anything is allocated.
    pub fn patches(&self, images: &[&RgbImage], device: &Device) -> Result<Patches, QwenImageError> {
        let sizes = images.iter().map(|image| self.scaled_size(image.width(), image.height()));
        let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
        let pixels = sizes.iter().map(|(width, height)| u64::from(*width) * u64::from(*height)).sum();
        if pixels > MAX_PIXELS {
            return Err(QwenImageError::TooManyPixels { pixels });
        }
        let of_patch = (3 * self.temporal_patch_size * self.patch_size * self.patch_size) as usize;
        let mut values = Vec::with_capacity(pixels as usize * 3 * self.temporal_patch_size as usize);
        let mut grids = Vec::with_capacity(images.len());
        let levels = self.levels();
        for (image, (width, height)) in images.iter().zip(sizes) {
            self.cut(&resize(image, width, height, ResizeFilter::Bicubic)?, &levels, &mut values);
            grids.push(PatchGrid::image((height / self.patch_size) as usize, (width / self.patch_size) as usize));
        }
        let shape = [values.len() / of_patch, of_patch];
        Ok(Patches { values: Tensor::from_data(TensorData::new(values, shape), device), grids })
    }

    /// Appends the patches of one scaled image.
    fn cut(&self, image: &RgbImage, levels: &[[f32; 256]; 3], values: &mut Vec<f32>) {
        let (side, merge) = (self.patch_size, self.merge_size);
        let (rows, columns) = (image.height() / side, image.width() / side);
        let square = (0..merge).flat_map(|row| (0..merge).map(move |column| (row, column)));
        for row in (0..rows).step_by(merge as usize) {
            for column in (0..columns).step_by(merge as usize) {
                for (below, beside) in square.clone() {
                    let (top, left) = ((row + below) * side, (column + beside) * side);
                    for (channel, level) in levels.iter().enumerate() {
                        let first = values.len();
                        for y in top..top + side {
                            let pixels = (left..left + side).map(|x| image.get_pixel(x, y).0[channel]);
                            values.extend(pixels.map(|value| level[usize::from(value)]));
                        }
                        let frame = first..values.len();
                        for _ in 1..self.temporal_patch_size {
                            values.extend_from_within(frame.clone());
                        }
                    }
                }
            }
        }
    }

    /// The normalised value of each 8-bit value, for each channel; rescaled in f64 and normalised in f32, as
    /// the reference does.
    fn levels(&self) -> [[f32; 256]; 3] {
        let mut levels = [[0.0; 256]; 3];
        for (channel, level) in levels.iter_mut().enumerate() {
            let (mean, std) = (self.image_mean[channel] as f32, self.image_std[channel] as f32);
            for (value, level) in level.iter_mut().enumerate() {
                *level = ((value as f64 * self.rescale_factor) as f32 - mean) / std;
            }
        }
        levels
    }
}

/// The limits at the top level, which go first, or in `size`, under either of their names.
fn pixel_range(fields: &Fields<'_>, default: PixelRange) -> Result<PixelRange, FieldError> {
    let size = fields.get("size").map(|values| Fields::new(FILE, values)).transpose()?;
    let limit = |pixels: &str, edge: &str, default: u64| {
        let places = [(Some(*fields), pixels), (size, edge), (size, pixels)];
        let mut found = places.into_iter().filter_map(|(fields, key)| fields.map(|fields| (fields, key)));
        match found.find(|(fields, key)| fields.get(key).is_some()) {
            Some((fields, key)) => Ok(fields.whole(key, 1..=MAX_PIXELS as usize, None)? as u64),
            None => Ok(default),
        }
    };
    let min = limit("min_pixels", "shortest_edge", default.min)?;
    let max = limit("max_pixels", "longest_edge", default.max)?;
    match min <= max {
        true => Ok(PixelRange { min, max }),
        false => Err(fields.wrong("min_pixels", format!("at most the greatest number of pixels, {max}"))),
    }
}

/// Three numbers, one a channel.
fn channels(fields: &Fields<'_>, key: &str, default: [f64; 3]) -> Result<[f64; 3], FieldError> {
    let Some(value) = fields.get(key) else { return Ok(default) };
    let numbers: Option<Vec<f64>> = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
    let three = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
    three.filter(|three| three.iter().all(|n| n.is_finite())).ok_or_else(|| fields.wrong(key, "three numbers"))
}
