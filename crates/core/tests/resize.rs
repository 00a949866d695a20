//! `resize` against Pillow (goldens by `xtask/goldens/resize.py`).

use std::path::Path;

use safevlm_core::canvas::Canvas;
use safevlm_core::image::RgbImage;
use safevlm_core::resize::{Region, ResizeError, ResizeFilter, resize, resize_region, scale_shorter};

fn golden(name: &str) -> RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/resize").join(name);
    image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_rgb8()
}

#[test]
fn equals_pillow() {
    let source = golden("source.png");
    let sizes = [(97, 61), (48, 30), (224, 141), (13, 9), (61, 97), (97, 7), (5, 61), (1, 1)];
    // In the first two the vertical pass comes first; the third shrinks by exactly twice as much.
    let tall_sizes = [(70, 40), (48, 30), (50, 75)];
    let tall = image::imageops::flip_horizontal(&image::imageops::rotate90(&source));
    for (filter, name) in FILTERS {
        for (width, height) in sizes {
            let expected = golden(&format!("{name}_{width}x{height}.png"));
            assert_equal(&resize(&source, width, height, filter).unwrap(), &expected, name);
        }
        for (width, height) in tall_sizes {
            let expected = golden(&format!("{name}_tall_{width}x{height}.png"));
            assert_equal(&resize(&tall, width, height, filter).unwrap(), &expected, &format!("{name}, tall"));
        }
    }
}

const FILTERS: [(ResizeFilter, &str); 2] = [(ResizeFilter::Bicubic, "bicubic"), (ResizeFilter::Bilinear, "bilinear")];

#[track_caller]
fn assert_equal(got: &RgbImage, expected: &RgbImage, name: &str) {
    assert_eq!(got.dimensions(), expected.dimensions());
    for (i, (a, b)) in got.as_raw().iter().zip(expected.as_raw()).enumerate() {
        assert_eq!(a, b, "{name} {:?}: value {i}", got.dimensions());
    }
}

#[test]
fn a_region_is_cut_out_of_the_whole() {
    let source = golden("source.png");
    let tall = image::imageops::rotate90(&source);
    for (filter, name) in FILTERS {
        for (image, to) in [(&source, (48, 30)), (&source, (224, 141)), (&tall, (70, 40)), (&tall, (61, 97))] {
            let whole = resize(image, to.0, to.1, filter).unwrap();
            let region = Region { left: 5, top: 11, width: to.0 - 9, height: 17 };
            let got = resize_region(&Canvas::of(image), to, region, filter).unwrap();
            let expected = image::imageops::crop_imm(&whole, 5, 11, region.width, region.height).to_image();
            assert_equal(&got, &expected, name);
        }
    }
}

#[test]
fn a_border_is_as_if_it_were_stored() {
    let source = golden("source.png");
    for image in [source.clone(), image::imageops::rotate90(&source)] {
        let mut stored = RgbImage::from_pixel(97, 97, image::Rgb([122, 116, 104]));
        let (left, top) = ((97 - image.width()) / 2, (97 - image.height()) / 2);
        image::imageops::replace(&mut stored, &image, left.into(), top.into());
        let canvas = Canvas::square(&image, [122, 116, 104]);
        // Downwards, upwards, unchanged, and with the vertical pass first.
        for (width, height) in [(28, 28), (130, 120), (97, 97), (90, 20)] {
            let region = Region { left: 0, top: 0, width, height };
            let got = resize_region(&canvas, (width, height), region, ResizeFilter::Bicubic).unwrap();
            assert_equal(&got, &resize(&stored, width, height, ResizeFilter::Bicubic).unwrap(), "border");
        }
    }
}

#[test]
fn the_longer_side_is_rounded_down() {
    assert_eq!(scale_shorter((300, 451), 224), (224, 336));
    assert_eq!(scale_shorter((451, 300), 224), (336, 224));
    assert_eq!(scale_shorter((7, 7), 3), (3, 3));
    assert_eq!(scale_shorter((1, u32::MAX), 9), (9, u32::MAX));
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
    let canvas = Canvas::of(&source);
    let outside = Region { left: 3, top: 0, width: 6, height: 8 };
    assert!(matches!(resize_region(&canvas, (8, 8), outside, filter), Err(ResizeError::Outside { .. })));
    let wrapped = Region { left: u32::MAX, ..outside };
    assert!(matches!(resize_region(&canvas, (8, 8), wrapped, filter), Err(ResizeError::Outside { .. })));
    let empty = Region { width: 0, ..outside };
    assert!(matches!(resize_region(&canvas, (8, 8), empty, filter), Err(ResizeError::NoPixels { .. })));
}
