//! Every image that a stranger may hand in: decoded as it should be, or refused in one sentence.
//! What Rust's encoders cannot write is in tests/images, made by xtask/goldens/core_images.py.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, GrayAlphaImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm_core::{ImageError, ImageLimits, RgbImage, decode_image, load_image};

const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];

fn decode(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    decode_image(bytes, &ImageLimits::default())
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixture_path(name)).unwrap()
}

fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)
}

/// A picture in which every pixel differs, so that no row or column can be lost unseen.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 11) as u8, (x * 3 + y * 5) as u8]))
}

#[track_caller]
fn assert_near(found: Rgb<u8>, wanted: [u8; 3], tolerance: u8) {
    for (found, wanted) in found.0.into_iter().zip(wanted) {
        assert!(found.abs_diff(wanted) <= tolerance, "{found} is not {wanted}");
    }
}

#[test]
fn the_lossless_formats_come_back_exactly() {
    let image = gradient(31, 17);
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp] {
        assert_eq!(decode(&encode(image.clone(), format)).unwrap(), image, "{format:?}");
    }
}

#[test]
fn one_pixel_is_an_image_in_every_format() {
    for format in FORMATS {
        let image = decode(&encode(RgbImage::from_pixel(1, 1, Rgb([255; 3])), format)).unwrap();
        assert_eq!(image.dimensions(), (1, 1), "{format:?}");
        assert_near(*image.get_pixel(0, 0), [255; 3], 1);
    }
}

#[test]
fn sixteen_bits_keep_their_high_byte() {
    let rgb = ImageBuffer::from_pixel(2, 1, Rgb([0xFFFFu16, 0x80FF, 0x0180]));
    let image = decode(&encode(rgb, ImageFormat::Png)).unwrap();
    assert_eq!(image.get_pixel(1, 0).0, [0xFF, 0x80, 0x01]);

    let grey = ImageBuffer::from_pixel(1, 2, Luma([0x40FFu16]));
    let image = decode(&encode(grey, ImageFormat::Png)).unwrap();
    assert_eq!(image.get_pixel(0, 1).0, [0x40; 3]);

    let clear = ImageBuffer::from_pixel(1, 1, Rgba([0u16, 0, 0, 0]));
    let image = decode(&encode(clear, ImageFormat::Png)).unwrap();
    assert_eq!(image.get_pixel(0, 0).0, [255; 3]);

    let grey_alpha = ImageBuffer::from_pixel(1, 1, LumaA([0u16, 0x80FF]));
    let image = decode(&encode(grey_alpha, ImageFormat::Png)).unwrap();
    assert_eq!(image.get_pixel(0, 0).0, [127; 3]);
}

#[test]
fn transparency_lies_on_white() {
    let pixels = [[10u8, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]];
    let image = ImageBuffer::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let image = decode(&encode(image.clone(), format)).unwrap();
        let found: Vec<[u8; 3]> = image.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(found, [[10, 20, 30], [255, 255, 255], [204, 204, 204]], "{format:?}");
    }
    let grey = GrayAlphaImage::from_pixel(1, 1, LumaA([0, 51]));
    let image = decode(&encode(grey, ImageFormat::Png)).unwrap();
    assert_eq!(image.get_pixel(0, 0).0, [204; 3]);

    let image = decode(&fixture("palette.png")).unwrap();
    assert_eq!(image.pixels().filter(|pixel| pixel.0 == [255; 3]).count(), 16 * 16);
}

#[test]
fn other_colour_models_become_rgb() {
    let image = decode(&fixture("cmyk.jpg")).unwrap();
    for (x, wanted) in [(8, [255, 0, 0]), (24, [0, 255, 0]), (40, [131, 106, 58])] {
        assert_near(*image.get_pixel(x, 8), wanted, 2);
    }
    let image = decode(&fixture("grey.jpg")).unwrap();
    assert_near(*image.get_pixel(8, 8), [60; 3], 1);
    let image = decode(&fixture("progressive.jpg")).unwrap();
    assert_near(*image.get_pixel(40, 8), [0, 0, 255], 2);
}

#[test]
fn of_an_animation_the_first_frame_is_taken() {
    for name in ["animated.gif", "animated.png", "animated.webp"] {
        let image = decode(&fixture(name)).unwrap();
        assert_eq!(image.dimensions(), (48, 16), "{name}");
        assert!(image.pixels().all(|pixel| pixel.0 == [255, 0, 0]), "{name}");
    }
}

#[test]
fn the_camera_s_orientation_is_applied() {
    for name in ["exif.jpg", "exif.png", "exif.webp"] {
        let image = decode(&fixture(name)).unwrap();
        assert_eq!(image.dimensions(), (16, 48), "{name}");
        for (y, wanted) in [(8, [255, 0, 0]), (24, [0, 255, 0]), (40, [0, 0, 255])] {
            assert_near(*image.get_pixel(8, y), wanted, 2);
        }
    }
}

#[test]
fn a_truncated_image_is_refused_wherever_it_ends() {
    let mut images: Vec<(String, Vec<u8>)> =
        FORMATS.map(|format| (format!("{format:?}"), encode(gradient(40, 40), format))).into();
    for name in ["progressive.jpg", "cmyk.jpg", "exif.webp", "palette.png"] {
        images.push((name.to_owned(), fixture(name)));
    }
    for (name, bytes) in images {
        for tenth in 0..10 {
            let part = &bytes[..bytes.len() * tenth / 10];
            let error = decode(part).expect_err(&format!("{name} cut to {tenth} tenths"));
            let message = error.to_string();
            assert!(!message.contains('\n'), "{message}");
            assert!(
                ["empty", "not a PNG", "truncated", "damaged"].iter().any(|word| message.contains(word)),
                "{name} cut to {tenth} tenths: {message}"
            );
        }
    }
}

#[test]
fn a_truncated_image_says_so() {
    for format in FORMATS {
        let bytes = encode(gradient(40, 40), format);
        let message = decode(&bytes[..bytes.len() / 2]).unwrap_err().to_string();
        // The GIF decoder has an error of its own for it.
        assert!(message.contains("truncated") || message.contains("Unexpected End of File"), "{format:?}: {message}");
    }
}

#[test]
fn what_is_no_image_is_refused() {
    assert!(matches!(decode(b""), Err(ImageError::Empty)));
    for bytes in [&b"x"[..], b"hello, I am a text", b"%PDF-1.7\n", b"<svg/>", &[0; 4096], b"II*\0\x08\0\0\0"] {
        assert!(matches!(decode(bytes), Err(ImageError::UnknownFormat)));
    }
}

/// A PNG whose header is replaced, with a right checksum.
fn png_with_dimensions(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encode(gradient(4, 4), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc);
    bytes
}

/// CRC-32 as PNG uses it.
fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).to_be_bytes()
}

#[test]
fn the_header_is_judged_before_the_pixels() {
    for (width, height) in [(8_001, 8_000), (100_000, 100_000), (i32::MAX as u32, i32::MAX as u32), (65_536, 1)] {
        let error = decode(&png_with_dimensions(width, height)).unwrap_err();
        assert!(matches!(error, ImageError::TooManyPixels { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{width}x{height}")), "{error}");
    }
    assert!(decode(&png_with_dimensions(0, 7)).is_err());

    let mut jpeg = encode(gradient(4, 4), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|two| two == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    assert!(matches!(decode(&jpeg), Err(ImageError::TooManyPixels { width: 65_535, height: 65_535, .. })));

    let mut bmp = encode(gradient(4, 4), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    assert!(matches!(decode(&bmp), Err(ImageError::TooManyPixels { .. })));

    let mut gif = encode(gradient(4, 4), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    assert!(matches!(decode(&gif), Err(ImageError::TooManyPixels { .. })));
}

#[test]
fn a_header_that_promises_more_than_there_is_is_refused() {
    assert!(decode(&png_with_dimensions(1_000, 1_000)).is_err());

    let mut bmp = encode(gradient(4, 4), ImageFormat::Bmp);
    bmp[22..26].copy_from_slice(&2_000u32.to_le_bytes());
    assert!(decode(&bmp).is_err());

    // A frame that is larger than the screen it is drawn on.
    let mut gif = encode(gradient(4, 4), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[1, 0, 1, 0]);
    let frame = gif.windows(5).position(|five| five == [0x2C, 0, 0, 0, 0]).unwrap();
    gif[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    assert!(decode(&gif).is_err());
}

#[test]
fn the_limits_are_the_caller_s() {
    let bytes = encode(gradient(20, 10), ImageFormat::Png);
    let with = |change: fn(&mut ImageLimits)| {
        let mut limits = ImageLimits::default();
        change(&mut limits);
        decode_image(&bytes, &limits)
    };
    assert!(with(|limits| limits.max_pixels = 200).is_ok());
    assert!(matches!(with(|limits| limits.max_pixels = 199), Err(ImageError::TooManyPixels { .. })));
    assert!(matches!(with(|limits| limits.max_side = 19), Err(ImageError::TooManyPixels { .. })));
    assert!(matches!(with(|limits| limits.max_alloc = 599), Err(ImageError::TooMuchMemory { limit: 599 })));
    assert!(matches!(with(|limits| limits.max_bytes = 10), Err(ImageError::TooManyBytes { limit: 10 })));
}

#[test]
fn files_are_named_in_their_errors() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ImageLimits { max_bytes: 1_000, ..ImageLimits::default() };
    let cases: [(&str, Option<&[u8]>, &str); 4] = [
        ("missing.png", None, "does not exist"),
        ("empty.png", Some(b""), "is empty"),
        ("text.png", Some(b"not an image"), "not a PNG"),
        ("long.png", Some(&[0; 1_001]), "longer than 1000 bytes"),
    ];
    for (name, content, wanted) in cases {
        let path = folder.path().join(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let message = load_image(&path, &limits).unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
        assert!(message.contains(wanted), "{message}");
    }
    let message = load_image(folder.path(), &limits).unwrap_err().to_string();
    assert!(message.contains("is a directory"), "{message}");

    assert!(load_image(fixture_path("exif.jpg"), &limits).is_ok());
}

#[test]
fn no_bytes_cause_a_panic_or_escape_the_limits() {
    let limits = ImageLimits { max_pixels: 200_000, max_alloc: 4 << 20, ..ImageLimits::default() };
    let mut seeds: Vec<Vec<u8>> = FORMATS.map(|format| encode(gradient(24, 18), format)).into();
    for entry in fs::read_dir(fixture_path("")).unwrap() {
        seeds.push(fs::read(entry.unwrap().path()).unwrap());
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for seed in &seeds {
        for _ in 0..2_000 {
            let mut bytes = seed.clone();
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..5) {
                    0 => bytes[at] = rng.random(),
                    1 => bytes[at] ^= 1 << rng.random_range(0..8),
                    2 => bytes[at] = [0, 0xFF, 0x7F, 0x80][rng.random_range(0..4)],
                    3 => bytes.truncate(at + 1),
                    _ => {
                        let other = &seeds[rng.random_range(0..seeds.len())];
                        let from = rng.random_range(0..other.len());
                        let length = rng.random_range(0..32).min(other.len() - from);
                        bytes.splice(at..at, other[from..from + length].iter().copied());
                    }
                }
            }
            if let Ok(image) = decode_image(&bytes, &limits) {
                assert!(u64::from(image.width()) * u64::from(image.height()) <= limits.max_pixels);
            }
        }
    }
}
