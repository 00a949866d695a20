//! Changes to pictures that leave their class as it is.

use image::imageops::colorops::{brighten_in_place, grayscale, huerotate_in_place};
use image::imageops::{crop_imm, flip_horizontal};
use image::{DynamicImage, RgbImage};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How pictures are varied, a new way each time they are seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Share of pictures that are mirrored, 0 to 1. Writing is mirrored with them.
    pub flip: f64,
    /// Share of each side that is cut off at most, 0 to 0.5.
    pub crop: f64,
    /// How much brighter or darker a picture becomes at most, as a share of white, 0 to 0.5.
    pub brightness: f64,
    /// How far colours turn around the colour wheel at most, in degrees, 0 to 180.
    pub hue: f64,
    /// Share of pictures that lose their colours, 0 to 1.
    pub grey: f64,
}

impl Augment {
    /// What is wrong with the settings.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            Self { flip, .. } if !(0.0..=1.0).contains(flip) => Some("augment.flip must be from 0 to 1"),
            Self { crop, .. } if !(0.0..=0.5).contains(crop) => Some("augment.crop must be from 0 to 0.5"),
            Self { brightness, .. } if !(0.0..=0.5).contains(brightness) => {
                Some("augment.brightness must be from 0 to 0.5")
            }
            Self { hue, .. } if !(0.0..=180.0).contains(hue) => Some("augment.hue must be from 0 to 180"),
            Self { grey, .. } if !(0.0..=1.0).contains(grey) => Some("augment.grey must be from 0 to 1"),
            _ => None,
        }
    }

    /// A variation of `image`.
    pub fn apply(&self, image: &RgbImage, rng: &mut ChaCha8Rng) -> RgbImage {
        let (width, height) = image.dimensions();
        // Drawn in one order whatever is switched on, so that settings do not change each other's draws.
        let [mirror, keep, left, top, light, turn, colour] = std::array::from_fn(|_| rng.random::<f64>());
        let kept = 1.0 - self.crop * keep;
        let [inner_width, inner_height] = [width, height].map(|side| ((f64::from(side) * kept).round() as u32).max(1));
        let place = |share: f64, room: u32| (share * f64::from(room)).round() as u32;
        let (x, y) = (place(left, width - inner_width), place(top, height - inner_height));
        let mut image = crop_imm(image, x, y, inner_width, inner_height).to_image();
        if mirror < self.flip {
            image = flip_horizontal(&image);
        }
        let light = ((2.0 * light - 1.0) * self.brightness * 255.0).round() as i32;
        if light != 0 {
            brighten_in_place(&mut image, light);
        }
        if colour < self.grey {
            return DynamicImage::from(grayscale(&image)).into_rgb8();
        }
        let turn = ((2.0 * turn - 1.0) * self.hue).round() as i32;
        if turn != 0 {
            huerotate_in_place(&mut image, turn);
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pictures_vary_within_the_settings_and_repeat_with_the_seed() {
        let image = RgbImage::from_fn(40, 20, |x, y| [x as u8, y as u8, 100].into());
        let rng = ChaCha8Rng::seed_from_u64;
        assert_eq!(Augment::default().apply(&image, &mut rng(1)), image);
        let flip = Augment { flip: 1.0, ..Augment::default() };
        assert_eq!(flip.apply(&image, &mut rng(1)).get_pixel(0, 3).0, [39, 3, 100]);
        let grey = Augment { grey: 1.0, ..Augment::default() }.apply(&image, &mut rng(1));
        assert!(grey.pixels().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]), "no colour is left");
        let turned = Augment { hue: 180.0, ..Augment::default() }.apply(&image, &mut rng(1));
        assert_ne!(turned, image);
        let all = Augment { flip: 0.5, crop: 0.25, brightness: 0.1, hue: 30.0, grey: 0.2 };
        let made: Vec<RgbImage> = (0..20).map(|seed| all.apply(&image, &mut rng(seed))).collect();
        assert_eq!(made[3], all.apply(&image, &mut rng(3)));
        assert!(made.iter().all(|made| made.width() >= 30 && made.height() >= 15));
        assert!(made.iter().any(|made| made.width() < 40) && made.iter().any(|made| made.get_pixel(0, 0)[2] > 100));
        let is_grey = |made: &RgbImage| made.pixels().all(|pixel| pixel[0] == pixel[1]);
        assert!(made.iter().any(is_grey) && !made.iter().all(is_grey));
        // One pixel stays one.
        assert_eq!(all.apply(&RgbImage::new(1, 1), &mut rng(1)).dimensions(), (1, 1));
        assert!(Augment { crop: 0.6, ..Augment::default() }.problem().unwrap().contains("crop"));
    }
}
