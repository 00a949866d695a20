//! The map over its picture.

use safevlm_core::RgbImage;

use super::Heatmap;
use super::colours::inferno;

/// How much of the picture is covered where harm is certain.
const COVER: f32 = 0.75;
/// The colour map's part that is used: its ends cannot be told from dark and from bright pictures.
const FROM: f32 = 0.2;
const TO: f32 = 0.85;
/// How bright the map is over a black pixel, so that the picture shows through.
const SHADE: f32 = 0.4;
/// How bright is left what the model does not see.
const UNSEEN: f32 = 0.25;

impl Heatmap {
    /// `picture` in grey with the map over it, in the picture's own size. The probability of being unsafe goes from
    /// nothing over violet and red to orange, smoothly from token to token. What the model does not see of the
    /// picture, since it crops, is dark.
    pub fn draw(&self, picture: &RgbImage) -> RgbImage {
        let view = &self.grid.view;
        let columns = steps(picture.width(), view.left, view.width, self.grid.columns);
        let rows = steps(picture.height(), view.top, view.height, self.grid.rows);
        let mut drawn = picture.clone();
        for (x, y, pixel) in drawn.enumerate_pixels_mut() {
            let [red, green, blue] = pixel.0.map(f32::from);
            let grey = 0.299 * red + 0.587 * green + 0.114 * blue;
            let mixed = match (&columns[x as usize], &rows[y as usize]) {
                (Some(column), Some(row)) => {
                    let probability = self.between(column, row);
                    let cover = COVER * probability;
                    let shade = SHADE + (1.0 - SHADE) * grey / 255.0;
                    inferno(FROM + (TO - FROM) * probability).map(|c| grey * (1.0 - cover) + c * shade * cover)
                }
                _ => [UNSEEN * grey; 3],
            };
            pixel.0 = mixed.map(|value| value.round() as u8);
        }
        drawn
    }

    /// The probability of being unsafe between four tokens.
    fn between(&self, column: &Step, row: &Step) -> f32 {
        let at = |column: usize, row: usize| self.unsafe_probabilities[row * self.grid.columns + column];
        let along = |row: usize| at(column.first, row) * (1.0 - column.part) + at(column.second, row) * column.part;
        along(row.first) * (1.0 - row.part) + along(row.second) * row.part
    }
}

/// Between which two tokens of a row or column a pixel lies.
struct Step {
    first: usize,
    second: usize,
    /// How near it is to the second, 0 to 1.
    part: f32,
}

/// For each of `pixels` along one side its step among `tokens`, which lie over `length` pixels from `start` on; none
/// for a pixel outside.
fn steps(pixels: u32, start: f64, length: f64, tokens: usize) -> Vec<Option<Step>> {
    let step = |pixel: u32| {
        let place = (f64::from(pixel) + 0.5 - start) / length;
        (0.0..=1.0).contains(&place).then(|| {
            let last = tokens.saturating_sub(1);
            let at = (place * tokens as f64 - 0.5).clamp(0.0, last as f64);
            let first = at as usize;
            Step { first, second: (first + 1).min(last), part: (at - first as f64) as f32 }
        })
    };
    (0..pixels).map(step).collect()
}

#[cfg(test)]
mod tests {
    use safevlm_core::View;
    use safevlm_family::TokenGrid;

    use super::super::tests::map;
    use super::*;

    #[test]
    fn the_map_has_the_pictures_size_and_its_peak_where_the_token_is() {
        let picture = RgbImage::from_pixel(40, 20, image::Rgb([100; 3]));
        let grid = TokenGrid { columns: 4, rows: 2, view: View::whole((40, 20)) };
        let drawn = map(grid, (40, 20), &[2]).draw(&picture);
        assert_eq!(drawn.dimensions(), (40, 20));
        let red = |x: u32, y: u32| drawn.get_pixel(x, y).0[0];
        assert!(red(25, 5) > 125 && red(5, 15) < 105, "{} {}", red(25, 5), red(5, 15));
        // Between the middles of two tokens it changes step by step.
        assert!((15..24).all(|x| red(x, 0) <= red(x + 1, 0)));
    }

    #[test]
    fn what_was_cropped_away_is_grey() {
        let picture = RgbImage::from_pixel(40, 20, image::Rgb([200, 0, 0]));
        let middle = View { left: 10.0, top: 0.0, width: 20.0, height: 20.0 };
        let drawn = map(TokenGrid::square(4, middle).unwrap(), (40, 20), &[]).draw(&picture);
        assert_eq!(drawn.get_pixel(9, 3).0, [15; 3]);
        assert_eq!(drawn.get_pixel(30, 3).0, [15; 3]);
        assert!(drawn.get_pixel(10, 3).0[0] > 50 && drawn.get_pixel(29, 3).0[0] > 50);
    }

    #[test]
    fn padding_is_outside_the_picture() {
        let picture = RgbImage::new(30, 10);
        let grid = TokenGrid::square(9, View::square((30, 10))).unwrap();
        // The tokens above and below are padding, which reaches into the picture only by interpolation.
        let drawn = map(grid, (30, 10), &[0, 1, 2, 6, 7, 8]).draw(&picture);
        let middle = drawn.get_pixel(15, 5).0[0];
        assert!(middle < 40, "{middle}");
    }
}
