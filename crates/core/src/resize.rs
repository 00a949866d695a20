//! Resizing exactly as Pillow does it. The reference processors of the models call
//! `PIL.Image.resize`, whose filters widen when an image shrinks (antialiasing), unlike
//! `torch.nn.functional.interpolate`; a level of difference in the pixels would show in the logits.
//!
//! The same steps as the `src/libImaging/Resample.c` of Pillow 13: fixed-point weights of 22 fractional
//! bits, a horizontal pass rounded to 8 bits, then a vertical one; the other way round where the height
//! shrinks by more than twice as many pixels as the width, as Pillow has it since version 13. (The crate
//! `fast_image_resize` rounds in another order and is up to four levels off.)

use std::borrow::Cow;
use std::ops::Range;

use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::canvas::Canvas;

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
    /// The region does not lie inside the result.
    #[error("{region:?} is not inside {to:?} pixels; choose a smaller region")]
    Outside {
        /// The region that was asked for.
        region: Region,
        /// Width and height of the whole.
        to: (u32, u32),
    },
}

/// The most pixels of a result (192 MiB): far more than any model reads.
pub const MAX_PIXELS: u64 = 64 << 20;

/// A rectangle in the resized image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl Region {
    /// The middle of an image of `whole` pixels, or all of it where `region` is larger. `offset` tells how
    /// many of the spare pixels come first: references round a half in different ways.
    pub fn centre(whole: (u32, u32), region: (u32, u32), offset: impl Fn(u32) -> u32) -> Self {
        let (width, height) = (region.0.min(whole.0), region.1.min(whole.1));
        Self { left: offset(whole.0 - width), top: offset(whole.1 - height), width, height }
    }
}

/// Width and height after scaling the shorter side to `edge`; the longer is rounded down, as torchvision
/// and transformers do. A side too long for a number becomes the greatest there is.
pub fn scale_shorter((width, height): (u32, u32), edge: u32) -> (u32, u32) {
    let scaled = |side: u32| {
        let exact = u64::from(edge) * u64::from(side) / u64::from(width.min(height).max(1));
        u32::try_from(exact).unwrap_or(u32::MAX)
    };
    (scaled(width), scaled(height))
}

/// `image` at `width` x `height`, every value equal to Pillow's.
///
/// # Errors
///
/// When a side is zero, or the result, or the image that is only as wide as the result, has more than
/// [`MAX_PIXELS`].
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: ResizeFilter) -> Result<RgbImage, ResizeError> {
    resize_region(&Canvas::of(image), (width, height), Region { left: 0, top: 0, width, height }, filter)
}

/// The rectangle `region` of what [`resize`] would make of `canvas` at `to` pixels, without the rest: a
/// 1 x 60,000 image whose shorter side becomes 336 has 6.8 billion pixels, its middle 112,896.
///
/// # Errors
///
/// When a side is zero, a side of `to` is greater than [`MAX_PIXELS`], or the region, or the columns of
/// the image that it is made of, have more than that; or when the region is not inside.
pub fn resize_region(
    canvas: &Canvas<'_>,
    to: (u32, u32),
    region: Region,
    filter: ResizeFilter,
) -> Result<RgbImage, ResizeError> {
    let from = canvas.dimensions();
    let no_pixels = || ResizeError::NoPixels { from, to };
    if [from.0, from.1, to.0, to.1, region.width, region.height].contains(&0) {
        return Err(no_pixels());
    }
    let fits = |start: u32, length: u32, whole: u32| start.checked_add(length).is_some_and(|end| end <= whole);
    if !fits(region.left, region.width, to.0) || !fits(region.top, region.height, to.1) {
        return Err(ResizeError::Outside { region, to });
    }
    let check = |width: usize, height: usize| match width as u64 * height as u64 {
        area if area > MAX_PIXELS => Err(ResizeError::TooLarge { width: to.0, height: to.1 }),
        _ => Ok(()),
    };
    let (width, height) = (region.width as usize, region.height as usize);
    check(1, to.0.max(to.1) as usize)?;
    check(width, height)?;
    let columns = Weights::new(from.0, to.0, region.left..region.left + region.width, filter);
    let rows = Weights::new(from.1, to.1, region.top..region.top + region.height, filter);
    let pixels = if vertical_first(from, to) {
        let needed = columns.span();
        check(needed.len(), height)?;
        let squeezed = resize_columns(|y| canvas.row(y), &canvas.background(), needed.clone(), &rows);
        let stride = needed.len() * 3;
        resize_rows(|y| Some(squeezed[y * stride..][..stride].into()), &[], 0..height, &columns, needed.start)
    } else {
        let needed = rows.span();
        check(width, needed.len())?;
        let squeezed = resize_rows(|y| canvas.row(y), &canvas.background(), needed.clone(), &columns, 0);
        let row = |y: usize| Some(squeezed[(y - needed.start) * width * 3..][..width * 3].into());
        resize_columns(row, &[], 0..width, &rows)
    };
    RgbImage::from_raw(region.width, region.height, pixels).ok_or_else(no_pixels)
}

/// Pillow's choice of the pass that leaves the other one less to do.
fn vertical_first(from: (u32, u32), to: (u32, u32)) -> bool {
    let (width, height) = (i64::from(from.0) - i64::from(to.0), i64::from(from.1) - i64::from(to.1));
    height > 0 && height > 2 * width
}

/// Fractional bits of a weight: 32, less 8 for the value and 2 for sums beyond 0..=255.
const PRECISION: u32 = 32 - 8 - 2;

/// For each output position, the first input position that counts and the weights from there on.
struct Weights(Vec<(usize, Vec<i32>)>);

impl Weights {
    /// Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`, for the output positions in `wanted`.
    /// Where nothing is resized each position gets itself, whole.
    fn new(from: u32, to: u32, wanted: Range<u32>, filter: ResizeFilter) -> Self {
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
        Weights(wanted.map(position).collect())
    }

    /// The input positions that count for any output.
    fn span(&self) -> Range<usize> {
        let first = self.0.iter().map(|(first, _)| *first).min().unwrap_or(0);
        let end = self.0.iter().map(|(first, weights)| first + weights.len()).max().unwrap_or(0);
        first..end
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

/// The rows `needed`, each resized; where `row` has none it is `background`. The first pixel of a row is
/// number `left` of the input.
fn resize_rows<'a>(
    row: impl Fn(usize) -> Option<Cow<'a, [u8]>> + Sync,
    background: &[u8],
    needed: Range<usize>,
    weights: &Weights,
    left: usize,
) -> Vec<u8> {
    let stride = weights.0.len() * 3;
    let mut out = vec![0; stride * needed.len()];
    let mut empty = vec![0; if background.is_empty() { 0 } else { stride }];
    resize_row(background, weights, left, &mut empty);
    out.par_chunks_mut(stride).zip(needed).for_each(|(out, y)| match row(y) {
        Some(row) => resize_row(&row, weights, left, out),
        None => out.copy_from_slice(&empty),
    });
    out
}

fn resize_row(row: &[u8], weights: &Weights, left: usize, out: &mut [u8]) {
    for (out, (first, weights)) in out.chunks_exact_mut(3).zip(&weights.0) {
        let mut sum = [HALF; 3];
        for (pixel, weight) in row[(first - left) * 3..].chunks_exact(3).zip(weights) {
            for channel in 0..3 {
                sum[channel] += i32::from(pixel[channel]) * weight;
            }
        }
        out.copy_from_slice(&sum.map(round));
    }
}

/// The columns `needed`, each resized; where `row` has none it is `background`.
fn resize_columns<'a>(
    row: impl Fn(usize) -> Option<Cow<'a, [u8]>> + Sync,
    background: &[u8],
    needed: Range<usize>,
    weights: &Weights,
) -> Vec<u8> {
    let (first_value, stride) = (needed.start * 3, needed.len() * 3);
    let mut out = vec![0; stride * weights.0.len()];
    out.par_chunks_mut(stride).zip(&weights.0).for_each(|(out, (first, weights))| {
        let mut sums = vec![HALF; stride];
        for (y, weight) in (*first..).zip(weights) {
            let row = row(y).unwrap_or(Cow::Borrowed(background));
            for (sum, value) in sums.iter_mut().zip(&row[first_value..]) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = round(sum);
        }
    });
    out
}
