//! Resizing exactly as Pillow does it. The reference processors of the models call
//! `PIL.Image.resize`, whose filters widen when an image shrinks (antialiasing), unlike
//! `torch.nn.functional.interpolate`; a level of difference in the pixels would show in the logits.
//!
//! The same steps as Pillow's `src/libImaging/Resample.c`: fixed-point weights of 22 fractional bits,
//! a horizontal pass rounded to 8 bits, then a vertical one. (The crate `fast_image_resize` rounds in
//! another order and is up to four levels off.)

use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How pixels are weighed. Both as in Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeFilter {
    /// A triangle, one source pixel wide on each side at full size.
    Bilinear,
    /// Keys' cubic with a = -0.5, two source pixels wide on each side at full size.
    Bicubic,
}

/// Why an image cannot be resized.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// Source or result would have no pixels.
    #[error("cannot resize {from:?} pixels to {to:?}; every width and height must be at least 1")]
    NoPixels {
        /// Width and height of the source.
        from: (u32, u32),
        /// Width and height that were asked for.
        to: (u32, u32),
    },
    /// The result would be too large.
    #[error("cannot resize to {width}x{height} pixels: at most {MAX_PIXELS} are allowed; choose a smaller size")]
    TooLarge {
        /// Width that was asked for.
        width: u32,
        /// Height that was asked for.
        height: u32,
    },
}

/// The most pixels of a result (192 MiB): far more than any model reads.
pub const MAX_PIXELS: u64 = 64 << 20;

/// `image` at `width` x `height`, every value equal to Pillow's.
///
/// # Errors
///
/// When a side is zero, or the result, or the image that is only as wide as the result, has more than
/// [`MAX_PIXELS`].
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: ResizeFilter) -> Result<RgbImage, ResizeError> {
    let from = image.dimensions();
    let no_pixels = || ResizeError::NoPixels { from, to: (width, height) };
    if width == 0 || height == 0 || from.0 == 0 || from.1 == 0 {
        return Err(no_pixels());
    }
    if u64::from(width) * u64::from(height.max(from.1)) > MAX_PIXELS {
        return Err(ResizeError::TooLarge { width, height });
    }
    let mut pixels = image.as_raw().clone();
    if width != from.0 {
        pixels = resize_rows(&pixels, from.0 as usize, &Weights::new(from.0, width, filter));
    }
    if height != from.1 {
        pixels = resize_columns(&pixels, width as usize, &Weights::new(from.1, height, filter));
    }
    RgbImage::from_raw(width, height, pixels).ok_or_else(no_pixels)
}

/// Fractional bits of a weight: 32, less 8 for the value and 2 for sums beyond 0..=255.
const PRECISION: u32 = 32 - 8 - 2;

/// For each output position, the first input position that counts and the weights from there on.
struct Weights(Vec<(usize, Vec<i32>)>);

impl Weights {
    /// Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`.
    fn new(from: u32, to: u32, filter: ResizeFilter) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let position = |out: u32| {
            let centre = (f64::from(out) + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(from as usize);
            let raw = (first..last).map(|x| filter.weight((x as f64 - centre + 0.5) / stretch));
            let raw: Vec<f64> = raw.collect();
            let sum: f64 = raw.iter().sum();
            let fixed = |w: &f64| (w / sum * f64::from(1 << PRECISION)).round() as i32;
            (first, raw.iter().map(fixed).collect())
        };
        Weights((0..to).map(position).collect())
    }
}

impl ResizeFilter {
    /// Where the filter ends, in source pixels at full size.
    fn support(self) -> f64 {
        match self {
            ResizeFilter::Bilinear => 1.0,
            ResizeFilter::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            ResizeFilter::Bilinear => (1.0 - x).max(0.0),
            ResizeFilter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            ResizeFilter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            ResizeFilter::Bicubic => 0.0,
        }
    }
}

/// Half a level, so that the shift in [`round`] rounds to nearest.
const HALF: i32 = 1 << (PRECISION - 1);

fn round(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Each row of `width` pixels, resized.
fn resize_rows(pixels: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let mut out = vec![0; pixels.len() / width * weights.0.len()];
    out.par_chunks_mut(weights.0.len() * 3).zip(pixels.par_chunks(width * 3)).for_each(|(out, row)| {
        for (out, (first, weights)) in out.chunks_exact_mut(3).zip(&weights.0) {
            let mut sum = [HALF; 3];
            for (pixel, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for channel in 0..3 {
                    sum[channel] += i32::from(pixel[channel]) * weight;
                }
            }
            out.copy_from_slice(&sum.map(round));
        }
    });
    out
}

/// The columns of an image `width` pixels wide, resized.
fn resize_columns(pixels: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let stride = width * 3;
    let mut out = vec![0; stride * weights.0.len()];
    out.par_chunks_mut(stride).zip(&weights.0).for_each(|(out, (first, weights))| {
        let mut sums = vec![HALF; stride];
        for (row, weight) in pixels[first * stride..].chunks_exact(stride).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = round(sum);
        }
    });
    out
}
