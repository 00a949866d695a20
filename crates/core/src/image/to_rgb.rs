//! Any decoded image as 8-bit RGB: high bytes only, and on white.

use image::{DynamicImage, RgbImage};

/// Converts in as little memory as the variants allow: 8-bit RGB is moved, not copied.
pub(super) fn to_rgb(pixels: DynamicImage) -> RgbImage {
    let pixels = match pixels {
        DynamicImage::ImageRgb16(wide) => DynamicImage::ImageRgb8(narrow(&wide)),
        DynamicImage::ImageRgba16(wide) => DynamicImage::ImageRgba8(narrow(&wide)),
        DynamicImage::ImageLuma16(wide) => DynamicImage::ImageLuma8(narrow(&wide)),
        DynamicImage::ImageLumaA16(wide) => DynamicImage::ImageLumaA8(narrow(&wide)),
        other => other,
    };
    if !pixels.color().has_alpha() {
        return pixels.into_rgb8();
    }
    let pixels = pixels.into_rgba8();
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let [red, green, blue, alpha] = pixels.get_pixel(x, y).0;
        image::Rgb([red, green, blue].map(|value| on_white(value, alpha)))
    })
}

/// Keeps the high byte of each channel, as PIL does.
fn narrow<From, To>(wide: &image::ImageBuffer<From, Vec<u16>>) -> image::ImageBuffer<To, Vec<u8>>
where
    From: image::Pixel<Subpixel = u16>,
    To: image::Pixel<Subpixel = u8>,
{
    let bytes = wide.as_raw().iter().map(|value| (value >> 8) as u8);
    let (width, height) = wide.dimensions();
    let mut narrow = image::ImageBuffer::new(width, height);
    for (to, byte) in narrow.iter_mut().zip(bytes) {
        *to = byte;
    }
    narrow
}

/// `value` over white with 8-bit `alpha`, rounded to nearest.
fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_composited_on_white() {
        assert_eq!(on_white(200, 255), 200);
        assert_eq!(on_white(200, 0), 255);
        assert_eq!(on_white(0, 128), 127);
    }
}
