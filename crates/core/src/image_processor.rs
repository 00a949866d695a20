//! What Hugging Face's image processors do to one image, as `preprocessor_config.json` tells it.

use image::RgbImage;
use serde_json::Value;

use crate::canvas::Canvas;
use crate::fields::{FieldError, Fields};
use crate::pixels::PixelValues;
use crate::resize::{Region, ResizeError, ResizeFilter, resize_region, scale_shorter};
use crate::view::View;

const FILE: &str = "preprocessor_config.json";

/// The most pixels along a side that a processor may be told to make.
const MAX_SIDE: usize = 16_384;

/// What a processor does where its file is silent; the attributes of the reference's class.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorDefaults {
    /// Filter of the resize.
    pub filter: ResizeFilter,
    /// `size`: the shorter side, or both sides.
    pub size: usize,
    /// Whether a plain number as `size` means both sides (`default_to_square`).
    pub square: bool,
    /// Side of the square that is cut out of the middle, if one is.
    pub crop: Option<usize>,
    /// Mean of each channel.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
}

/// Resize, centre crop, rescale, normalise, every value equal to that of the reference (transformers'
/// `PilBackend`, the "slow" processors); with LLaVA's padding to a square before them on request.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    side: u32,
    size: Size,
    filter: ResizeFilter,
    ground: [u8; 3],
    pad: bool,
    values: PixelValues,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Size {
    Shorter(u32),
    Exact(u32, u32),
}

impl ImageProcessor {
    /// Reads a `preprocessor_config.json`, or a `processor_config.json` that holds one as
    /// `image_processor`. Sizes may be numbers, as in old files, or objects.
    ///
    /// # Errors
    ///
    /// If a value has another type, asks for something that is not done here, or makes other images
    /// than squares of `side` pixels, which are all that the encoder takes.
    pub fn from_hf(config: &Value, side: usize, defaults: &ProcessorDefaults) -> Result<Self, FieldError> {
        let fields = Fields::new(FILE, config.get("image_processor").unwrap_or(config))?;
        if !fields.flag("do_resize", true)? {
            return Err(fields.wrong("do_resize", "true: the encoder takes one size only"));
        }
        let size = match sides(&fields, "size", defaults.square)? {
            Some(size) => size,
            None if defaults.square => Size::Exact(defaults.size as u32, defaults.size as u32),
            None => Size::Shorter(defaults.size as u32),
        };
        let crop = match fields.flag("do_center_crop", defaults.crop.is_some())? {
            false => None,
            true => match sides(&fields, "crop_size", true)? {
                Some(Size::Exact(width, height)) => Some((width, height)),
                Some(Size::Shorter(_)) => return Err(fields.wrong("crop_size", "`height` and `width`")),
                None => {
                    let crop = defaults.crop.ok_or_else(|| fields.wrong("crop_size", "`height` and `width`"))?;
                    Some((crop as u32, crop as u32))
                }
            },
        };
        check_side(&fields, side as u32, size, crop)?;
        let mean = channels(&fields, "image_mean", defaults.mean)?;
        Ok(Self {
            side: side as u32,
            size,
            filter: filter(&fields, defaults.filter)?,
            // As the reference does, to whole levels towards zero.
            ground: mean.map(|mean| (mean * 255.0) as u8),
            pad: pads(&fields)?,
            values: pixel_values(&fields, mean, defaults)?,
        })
    }

    /// The same with or without padding to a square first, as `image_aspect_ratio` in LLaVA's own
    /// `config.json` tells it: `pad` puts the image on a ground of the mean colour.
    pub fn with_padding(self, pad: bool) -> Self {
        Self { pad, ..self }
    }

    /// Whether images are padded to a square first.
    pub fn pads(&self) -> bool {
        self.pad
    }

    /// Side of the square that every image becomes, in pixels.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// The square of 8-bit pixels that an image becomes.
    ///
    /// # Errors
    ///
    /// If the image has no pixels or is absurdly long.
    pub fn square(&self, image: &RgbImage) -> Result<RgbImage, ResizeError> {
        let canvas = if self.pad { Canvas::square(image, self.ground) } else { Canvas::of(image) };
        let (to, middle) = self.middle(canvas.dimensions());
        resize_region(&canvas, to, middle, self.filter)
    }

    /// The size to which something of `size` is scaled, and the square that is cut out of that.
    fn middle(&self, size: (u32, u32)) -> ((u32, u32), Region) {
        let to = match self.size {
            Size::Exact(width, height) => (width, height),
            Size::Shorter(edge) => scale_shorter(size, edge),
        };
        (to, Region::centre(to, (self.side, self.side), |spare| spare / 2))
    }

    /// The part of an image of that width and height that becomes the square.
    pub fn view(&self, size: (u32, u32)) -> View {
        let (view, canvas) = match self.pad {
            true => (View::square(size), (size.0.max(size.1), size.0.max(size.1))),
            false => (View::whole(size), size),
        };
        let (to, middle) = self.middle(canvas);
        view.part(to, middle)
    }

    /// The pixels of several images.
    ///
    /// # Shapes
    ///
    /// - output `[images, 3, side, side]`, row-major
    ///
    /// # Errors
    ///
    /// As for [`square`](Self::square).
    pub fn planes(&self, images: &[&RgbImage]) -> Result<Vec<f32>, ResizeError> {
        let squares = images.iter().map(|image| self.square(image)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.values.planes(&squares))
    }
}

/// Refuses sizes that do not end in a square of `side`, or that the reference would fill up with black.
fn check_side(fields: &Fields<'_>, side: u32, size: Size, crop: Option<(u32, u32)>) -> Result<(), FieldError> {
    let expected = || format!("{side}, the `image_size` of the encoder");
    match (size, crop) {
        (_, Some(crop)) if crop != (side, side) => Err(fields.wrong("crop_size", expected())),
        (Size::Shorter(edge), Some(_)) if edge < side => Err(fields.wrong("size", format!("at least {}", expected()))),
        (Size::Exact(width, height), Some(_)) if width.min(height) < side => {
            Err(fields.wrong("size", format!("at least {}", expected())))
        }
        (Size::Exact(width, height), None) if (width, height) != (side, side) => Err(fields.wrong("size", expected())),
        (Size::Shorter(_), None) => Err(fields.wrong("do_center_crop", "true, since only the shorter side is set")),
        _ => Ok(()),
    }
}

/// A size in any of its spellings.
fn sides(fields: &Fields<'_>, key: &str, square: bool) -> Result<Option<Size>, FieldError> {
    let Some(value) = fields.get(key) else { return Ok(None) };
    let wrong = || {
        let one = "`height` and `width`, `shortest_edge` alone, or a number";
        fields.wrong(key, format!("{one}, each from 1 to {MAX_SIDE}"))
    };
    let number = |value: &Value| {
        let number = value.as_u64().filter(|n| (1..=MAX_SIDE as u64).contains(n));
        number.map(|n| n as u32).ok_or_else(wrong)
    };
    let named = |key| value.get(key).filter(|v| !v.is_null());
    Ok(Some(match (value, named("shortest_edge"), named("longest_edge"), named("height"), named("width")) {
        (Value::Number(_), ..) if square => Size::Exact(number(value)?, number(value)?),
        (Value::Number(_), ..) => Size::Shorter(number(value)?),
        (Value::Array(both), ..) if both.len() == 2 => Size::Exact(number(&both[1])?, number(&both[0])?),
        (Value::Object(_), Some(edge), None, None, None) => Size::Shorter(number(edge)?),
        (Value::Object(_), None, None, Some(height), Some(width)) => Size::Exact(number(width)?, number(height)?),
        _ => return Err(wrong()),
    }))
}

/// `resample`, one of Pillow's numbers.
fn filter(fields: &Fields<'_>, default: ResizeFilter) -> Result<ResizeFilter, FieldError> {
    match fields.get("resample").map(Value::as_u64) {
        None => Ok(default),
        Some(Some(2)) => Ok(ResizeFilter::Bilinear),
        Some(Some(3)) => Ok(ResizeFilter::Bicubic),
        Some(_) => Err(fields.wrong("resample", "2 (bilinear) or 3 (bicubic)")),
    }
}

/// `do_pad` of LLaVA's processor; elsewhere it would mean something else.
fn pads(fields: &Fields<'_>) -> Result<bool, FieldError> {
    let pad = fields.flag("do_pad", false)?;
    if pad && !fields.text("image_processor_type", "")?.starts_with("LlavaImageProcessor") {
        return Err(fields.wrong("do_pad", "false, except for a LlavaImageProcessor"));
    }
    Ok(pad)
}

/// In the reference's order and precision: rescaled in f64, rounded to f32, then normalised.
fn pixel_values(fields: &Fields<'_>, mean: [f64; 3], defaults: &ProcessorDefaults) -> Result<PixelValues, FieldError> {
    let rescale = fields.flag("do_rescale", true)?;
    let scale = fields.positive("rescale_factor", 1.0 / 255.0)?;
    let normalise = fields.flag("do_normalize", true)?;
    let std = channels(fields, "image_std", defaults.std)?;
    if std.iter().any(|std| *std as f32 <= 0.0) {
        return Err(fields.wrong("image_std", "numbers above 0"));
    }
    Ok(PixelValues::new(|channel, level| {
        let value = if rescale { (f64::from(level) * scale) as f32 } else { f32::from(level) };
        if normalise { (value - mean[channel] as f32) / std[channel] as f32 } else { value }
    }))
}

/// One number for each channel, or one for all.
fn channels(fields: &Fields<'_>, key: &str, default: [f64; 3]) -> Result<[f64; 3], FieldError> {
    let numbers: Option<Vec<f64>> = match fields.get(key) {
        None => return Ok(default),
        Some(Value::Array(values)) => values.iter().map(Value::as_f64).collect(),
        Some(value) => value.as_f64().map(|number| vec![number; 3]),
    };
    let numbers = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
    numbers.ok_or_else(|| fields.wrong(key, "one number, or three of them"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DEFAULTS: ProcessorDefaults = ProcessorDefaults {
        filter: ResizeFilter::Bicubic,
        size: 32,
        square: false,
        crop: Some(32),
        mean: [0.5; 3],
        std: [0.25; 3],
    };

    #[test]
    fn silence_means_the_defaults() {
        let processor = ImageProcessor::from_hf(&json!({}), 32, &DEFAULTS).unwrap();
        assert_eq!((processor.side(), processor.size, processor.pads()), (32, Size::Shorter(32), false));
        let nested = json!({"image_processor": {"size": null, "crop_size": {"height": 32, "width": 32}}});
        assert_eq!(ImageProcessor::from_hf(&nested, 32, &DEFAULTS).unwrap(), processor);
        let values = processor.planes(&[&RgbImage::from_pixel(9, 4, image::Rgb([255, 0, 51]))]).unwrap();
        assert_eq!((values[0], values[1024], values[3071]), (2.0, -2.0, (0.2f32 - 0.5) / 0.25));
    }

    #[test]
    fn the_view_is_what_is_cropped_or_padded() {
        let processor = ImageProcessor::from_hf(&json!({}), 32, &DEFAULTS).unwrap();
        let view = |left, top, width, height| View { left, top, width, height };
        // 128 x 64 becomes 64 x 32, of which the middle half is kept.
        assert_eq!(processor.view((128, 64)), view(32.0, 0.0, 64.0, 64.0));
        assert_eq!(processor.view((16, 80)), view(0.0, 32.0, 16.0, 16.0));
        let padded = processor.with_padding(true);
        assert_eq!(padded.view((128, 64)), view(0.0, -32.0, 128.0, 128.0));
        assert_eq!(padded.view((3, 4)), view(0.0, 0.0, 4.0, 4.0));
        let squeezed = ImageProcessor::from_hf(&json!({"size": [32, 32]}), 32, &DEFAULTS).unwrap();
        assert_eq!(squeezed.view((128, 64)), View::whole((128, 64)));
    }

    #[test]
    fn what_would_change_the_pixels_silently_is_refused() {
        for (config, key) in [
            (json!([1]), "the configuration"),
            (json!({"do_resize": false}), "do_resize"),
            (json!({"do_resize": "yes"}), "do_resize"),
            (json!({"resample": 1}), "resample"),
            (json!({"size": 31}), "size"),
            (json!({"size": 0}), "size"),
            (json!({"size": 1e9}), "size"),
            (json!({"size": {"shortest_edge": 32, "longest_edge": 64}}), "size"),
            (json!({"size": {"height": 32}}), "size"),
            (json!({"size": [32, 32, 3]}), "size"),
            (json!({"size": [32, 31]}), "size"),
            (json!({"crop_size": 224}), "crop_size"),
            (json!({"crop_size": {"shortest_edge": 32}}), "crop_size"),
            (json!({"do_center_crop": false}), "do_center_crop"),
            (json!({"do_center_crop": false, "size": [64, 64]}), "size"),
            (json!({"image_mean": [0.5, 0.5]}), "image_mean"),
            (json!({"image_std": [0.5, 0.0, 0.5]}), "image_std"),
            (json!({"rescale_factor": 0}), "rescale_factor"),
            (json!({"do_pad": true, "image_processor_type": "CLIPImageProcessor"}), "do_pad"),
        ] {
            let message = ImageProcessor::from_hf(&config, 32, &DEFAULTS).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")) || message.contains(key), "{config}: {message}");
            assert!(message.starts_with(FILE), "{message}");
        }
    }

    #[test]
    fn every_shape_becomes_a_square() {
        let processor = ImageProcessor::from_hf(&json!({}), 32, &DEFAULTS).unwrap();
        for (width, height) in [(1, 1), (1, 60_000), (60_000, 1), (9_000, 3), (33, 32)] {
            let image = RgbImage::from_pixel(width, height, image::Rgb([9, 80, 200]));
            let square = processor.square(&image).unwrap();
            assert_eq!(square.dimensions(), (32, 32), "{width}x{height}");
            assert!(square.pixels().all(|p| p.0 == [9, 80, 200]));
            let padded = processor.clone().with_padding(true).square(&image).unwrap();
            assert_eq!(padded.dimensions(), (32, 32), "{width}x{height}, padded");
        }
        assert!(processor.square(&RgbImage::new(0, 3)).is_err());
    }
}
