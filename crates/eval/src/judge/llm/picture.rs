//! The picture as the judge gets it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use safevlm::{ImageError, ImageLimits, decode_image};

/// Longest side that is sent, in pixels: endpoints scale down what is larger, and charge for it.
pub(super) const MAX_SIDE: u32 = 1024;
/// Encoded bytes that are sent as they are.
const MAX_BYTES: usize = 1 << 20;
const JPEG_QUALITY: u8 = 92;

/// A `data:` address of the picture.
///
/// A PNG or JPEG within the limits goes as it is; anything else is scaled down to them and becomes a JPEG.
///
/// # Errors
/// When it cannot be decoded: what is broken is not paid for.
pub(super) fn data_url(bytes: &[u8]) -> Result<String, ImageError> {
    let pixels = decode_image(bytes, &ImageLimits::default())?;
    let (width, height) = pixels.dimensions();
    let longest = width.max(height);
    let mime = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => Some("image/png"),
        Ok(ImageFormat::Jpeg) => Some("image/jpeg"),
        _ => None,
    };
    if let Some(mime) = mime
        && longest <= MAX_SIDE
        && bytes.len() <= MAX_BYTES
    {
        return Ok(url(mime, bytes));
    }
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(MAX_SIDE) / u64::from(longest);
        u32::try_from(side).unwrap_or(MAX_SIDE).max(1)
    };
    let pixels = match longest > MAX_SIDE {
        true => resize(&pixels, scaled(width), scaled(height), FilterType::CatmullRom),
        false => pixels,
    };
    let mut jpeg = Vec::new();
    let encoded = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY).encode_image(&pixels);
    encoded.map_err(|problem| ImageError::Damaged { problem })?;
    Ok(url("image/jpeg", &jpeg))
}

fn url(mime: &str, bytes: &[u8]) -> String {
    format!("data:{mime};base64,{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, RgbImage};

    use super::*;

    fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let picture = RgbImage::from_pixel(width, height, image::Rgb([200, 30, 40]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(picture).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn sent(bytes: &[u8]) -> (String, Vec<u8>) {
        let url = data_url(bytes).unwrap();
        let (mime, data) = url.strip_prefix("data:").unwrap().split_once(";base64,").unwrap();
        (mime.to_string(), STANDARD.decode(data).unwrap())
    }

    #[test]
    fn small_png_and_jpeg_go_as_they_are() {
        for (format, mime) in [(ImageFormat::Png, "image/png"), (ImageFormat::Jpeg, "image/jpeg")] {
            let bytes = encoded(1024, 3, format);
            assert_eq!(sent(&bytes), (mime.to_string(), bytes));
        }
    }

    #[test]
    fn others_become_jpegs_within_the_limit() {
        for (width, height, format, expected) in [
            (30, 20, ImageFormat::Bmp, (30, 20)),
            (2048, 512, ImageFormat::Png, (1024, 256)),
            (1, 4000, ImageFormat::Png, (1, 1024)),
        ] {
            let (mime, bytes) = sent(&encoded(width, height, format));
            let pixels = decode_image(&bytes, &ImageLimits::default()).unwrap();
            assert_eq!((mime.as_str(), pixels.dimensions()), ("image/jpeg", expected));
            let [red, green, blue] = pixels.get_pixel(0, 0).0;
            assert!(red.abs_diff(200) < 4 && green.abs_diff(30) < 4 && blue.abs_diff(40) < 4, "{red} {green} {blue}");
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(data_url(b"<html>").is_err());
        let mut cut = encoded(64, 64, ImageFormat::Png);
        cut.truncate(cut.len() / 2);
        assert!(data_url(&cut).is_err());
    }
}
