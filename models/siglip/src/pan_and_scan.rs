//! Gemma 3's pan-and-scan: long images are also seen in pieces.

use image::RgbImage;
use image::imageops::crop_imm;
use safevlm_core::fields::{FieldError, Fields};

/// When and into how many pieces an image is cut (reference: `pan_and_scan` of transformers
/// `Gemma3ImageProcessorPil`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PanAndScan {
    /// The least width and height of a piece, in pixels.
    pub min_crop_size: u32,
    /// The most pieces of an image.
    pub max_num_crops: u32,
    /// The longer side over the shorter one, from which an image is cut.
    pub min_ratio_to_activate: f64,
}

impl Default for PanAndScan {
    /// What `Gemma3Processor` uses where no file says otherwise.
    fn default() -> Self {
        Self { min_crop_size: 256, max_num_crops: 4, min_ratio_to_activate: 1.2 }
    }
}

impl PanAndScan {
    /// Reads the keys `do_pan_and_scan` and `pan_and_scan_*` of a `preprocessor_config.json`; `None`
    /// where it is off, as it is in Gemma 3's own files.
    pub(crate) fn from_fields(fields: &Fields<'_>) -> Result<Option<Self>, FieldError> {
        if !fields.flag("do_pan_and_scan", false)? {
            return Ok(None);
        }
        let Self { min_crop_size, max_num_crops, min_ratio_to_activate } = Self::default();
        let whole = |key, default: u32, most| fields.whole(key, 1..=most, default as usize).map(|n| n as u32);
        Ok(Some(Self {
            min_crop_size: whole("pan_and_scan_min_crop_size", min_crop_size, 16_384)?,
            // Each is one more image for the encoder.
            max_num_crops: whole("pan_and_scan_max_num_crops", max_num_crops, 64)?,
            min_ratio_to_activate: fields.positive("pan_and_scan_min_ratio_to_activate", min_ratio_to_activate)?,
        }))
    }

    /// The pieces of `image` from its start to its end; none if it is not long, or they were too small.
    pub fn crops(&self, image: &RgbImage) -> Vec<RgbImage> {
        let (width, height) = image.dimensions();
        let (long, short) = (width.max(height), width.min(height).max(1));
        let ratio = f64::from(long) / f64::from(short);
        if ratio < self.min_ratio_to_activate {
            return Vec::new();
        }
        let count = ((ratio + 0.5).floor() as u32).min(long / self.min_crop_size.max(1));
        let count = count.max(2).min(self.max_num_crops.max(1));
        let size = long.div_ceil(count);
        if size.min(short) < self.min_crop_size {
            return Vec::new();
        }
        // The last piece is shorter where the pieces are not equal; one that would be empty is left out.
        let starts = (0..count).map(|nth| nth * size).filter(|start| *start < long);
        let crop = |start: u32| match width >= height {
            true => crop_imm(image, start, 0, size.min(width - start), height).to_image(),
            false => crop_imm(image, 0, start, width, size.min(height - start)).to_image(),
        };
        starts.map(crop).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_off_unless_asked_for() {
        let read = |config| PanAndScan::from_fields(&Fields::new("preprocessor_config.json", &config).unwrap());
        assert_eq!(read(json!({"do_pan_and_scan": null, "pan_and_scan_max_num_crops": 0})).unwrap(), None);
        assert_eq!(read(json!({"do_pan_and_scan": true})).unwrap(), Some(PanAndScan::default()));
        for key in ["min_crop_size", "max_num_crops", "min_ratio_to_activate"].map(|k| format!("pan_and_scan_{k}")) {
            let message = read(json!({"do_pan_and_scan": true, key.as_str(): 0})).unwrap_err().to_string();
            assert!(message.contains(&key), "{message}");
        }
    }

    #[test]
    fn pieces_cover_the_image_once() {
        let pan = PanAndScan { min_crop_size: 2, max_num_crops: 64, min_ratio_to_activate: 1.2 };
        // Five pieces of four pixels would begin at 0, 4, 8, 12 and 16, the last behind the end.
        for (width, height) in [(16, 3), (3, 16), (13, 2), (9, 7), (600, 1), (1, 1)] {
            let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 0]));
            let crops = pan.crops(&image);
            let pixels: u32 = crops.iter().map(|crop| crop.width() * crop.height()).sum();
            assert!(crops.is_empty() || pixels == width * height, "{width}x{height}");
            if let (Some(first), Some(last)) = (crops.first(), crops.last()) {
                assert_eq!(first.get_pixel(0, 0).0, [0, 0, 0]);
                let corner = last.get_pixel(last.width() - 1, last.height() - 1);
                assert_eq!(corner, image.get_pixel(width - 1, height - 1));
            }
        }
        assert_eq!(pan.crops(&RgbImage::new(16, 3)).len(), 4);
        assert!(pan.crops(&RgbImage::new(7, 6)).is_empty() && pan.crops(&RgbImage::new(600, 1)).is_empty());
    }
}
