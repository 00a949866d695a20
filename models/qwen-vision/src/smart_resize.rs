//! The size to which an image is scaled before it is cut into patches.

use safevlm_core::resize::ResizeError;

use crate::processor::QwenImageError;

/// How many times longer than wide an image may be (or wider than long).
pub const MAX_ASPECT: f64 = 200.0;

/// Between how many pixels the scaled image should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelRange {
    /// The fewest.
    pub min: u64,
    /// The most.
    pub max: u64,
}

/// Width and height of the scaled image: both multiples of `factor`, the aspect ratio nearly kept, and the
/// number of pixels in `range` where that is possible (reference: transformers `smart_resize`).
///
/// # Errors
///
/// If the image has no pixels, or one side is more than [`MAX_ASPECT`] times the other.
pub fn smart_resize(width: u32, height: u32, factor: u32, range: PixelRange) -> Result<(u32, u32), QwenImageError> {
    let longest = f64::from(width.max(height));
    if width == 0 || height == 0 || factor == 0 {
        return Err(ResizeError::NoPixels { from: (width, height), to: (factor, factor) }.into());
    }
    if longest / f64::from(width.min(height)) > MAX_ASPECT {
        return Err(QwenImageError::AspectRatio { width, height });
    }
    let factor = f64::from(factor);
    let (wide, high) = (f64::from(width), f64::from(height));
    let (min, max) = (range.min as f64, range.max as f64);
    // Python rounds a half to the even side.
    let nearest = |side: f64| (side / factor).round_ties_even() * factor;
    let (mut to_wide, mut to_high) = (nearest(wide), nearest(high));
    if to_wide * to_high > max {
        let shrink = (high * wide / max).sqrt();
        let down = |side: f64| ((side / shrink / factor).floor() * factor).max(factor);
        (to_wide, to_high) = (down(wide), down(high));
    } else if to_wide * to_high < min {
        let stretch = (min / (high * wide)).sqrt();
        let up = |side: f64| (side * stretch / factor).ceil() * factor;
        (to_wide, to_high) = (up(wide), up(high));
    }
    Ok((to_wide as u32, to_high as u32))
}
