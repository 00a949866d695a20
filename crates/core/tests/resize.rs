//! `resize` against Pillow (goldens by `xtask/goldens/resize.py`).

use std::path::Path;

use safevlm_core::image::RgbImage;
use safevlm_core::resize::{ResizeError, ResizeFilter, resize};

fn golden(name: &str) -> RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/resize").join(name);
    image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_rgb8()
}

#[test]
fn equals_pillow() {
    let source = golden("source.png");
    let sizes = [(97, 61), (48, 30), (224, 141), (13, 9), (61, 97), (97, 7), (5, 61), (1, 1)];
    for (filter, name) in [(ResizeFilter::Bicubic, "bicubic"), (ResizeFilter::Bilinear, "bilinear")] {
        for (width, height) in sizes {
            let expected = golden(&format!("{name}_{width}x{height}.png"));
            let got = resize(&source, width, height, filter).unwrap();
            assert_eq!(got.dimensions(), (width, height));
            for (i, (a, b)) in got.as_raw().iter().zip(expected.as_raw()).enumerate() {
                assert_eq!(a, b, "{name} {width}x{height}: value {i}");
            }
        }
    }
}

#[test]
fn a_flat_image_stays_flat() {
    let source = RgbImage::from_pixel(3, 700, image::Rgb([255, 0, 137]));
    let got = resize(&source, 224, 31, ResizeFilter::Bicubic).unwrap();
    assert!(got.pixels().all(|p| p.0 == [255, 0, 137]));
}

#[test]
fn impossible_sizes_are_errors() {
    let source = RgbImage::new(2, 2);
    let empty = RgbImage::new(0, 5);
    let filter = ResizeFilter::Bicubic;
    assert!(matches!(resize(&source, 0, 4, filter), Err(ResizeError::NoPixels { .. })));
    assert!(matches!(resize(&empty, 4, 4, filter), Err(ResizeError::NoPixels { .. })));
    assert!(matches!(resize(&source, u32::MAX, u32::MAX, filter), Err(ResizeError::TooLarge { .. })));
}
