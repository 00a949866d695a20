//! The picture that a scene grows on: premultiplied pictures are laid over it.

use image::RgbImage;

use crate::vendors::Raster;

/// Where and how a picture is laid on the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The centre, in pixels.
    pub(crate) x: i32,
    pub(crate) y: i32,
    /// The longer side, in pixels.
    pub(crate) side: i32,
    /// The turn: tan(angle / 2) in 64ths, so that no trigonometry is needed; 17 is 30 degrees.
    pub(crate) turn: i32,
    /// Whether left and right are exchanged.
    pub(crate) mirrored: bool,
}

impl Placement {
    /// Upright, centred at `(x, y)`.
    pub(crate) const fn at(x: i32, y: i32, side: i32) -> Self {
        Self { x, y, side, turn: 0, mirrored: false }
    }

    pub(crate) const fn turned(mut self, turn: i32) -> Self {
        self.turn = turn;
        self
    }

    pub(crate) const fn mirrored(mut self, mirrored: bool) -> Self {
        self.mirrored = mirrored;
        self
    }
}

/// A square RGB picture.
#[derive(Debug, Clone)]
pub(crate) struct Canvas {
    side: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    pub(crate) fn new(side: u32, colour: [u8; 3]) -> Self {
        let pixels = colour.repeat((side * side) as usize);
        Self { side, pixels }
    }

    /// The side in pixels.
    pub(crate) fn side(&self) -> i32 {
        self.side as i32
    }

    /// Lays `colour` with `alpha` over one pixel; outside the canvas nothing happens.
    pub(crate) fn blend(&mut self, x: i32, y: i32, colour: [u8; 3], alpha: u8) {
        let side = self.side();
        if alpha == 0 || x < 0 || y < 0 || x >= side || y >= side {
            return;
        }
        let start = 3 * (y * side + x) as usize;
        let alpha = u32::from(alpha);
        for (below, above) in self.pixels[start..start + 3].iter_mut().zip(colour) {
            let sum = u32::from(above) * alpha + u32::from(*below) * (255 - alpha);
            *below = ((sum + 127) / 255) as u8;
        }
    }

    /// Lays a picture over the canvas, scaled, turned and mirrored as `placement` says.
    pub(crate) fn draw(&mut self, picture: &Raster, placement: Placement) {
        let side = placement.side.clamp(2, 4 * self.side()) as u32;
        let mut picture = std::borrow::Cow::Borrowed(picture);
        while picture.width.max(picture.height) >= 2 * side {
            picture = std::borrow::Cow::Owned(picture.halved());
        }
        let (width, height) = (i64::from(picture.width), i64::from(picture.height));
        // With t = tan(angle / 2) = turn / 64: cos = (64² - turn²) / d, sin = 2 * 64 * turn / d.
        let turn = i64::from(placement.turn);
        let d = i64::from(side) * (64 * 64 + turn * turn);
        let longer = width.max(height) << 16;
        let cos = longer * (64 * 64 - turn * turn) / d;
        let sin = longer * (2 * 64 * turn) / d;

        // A turned picture is at most its diagonal wide.
        let reach = (side as i32 * 3).div_euclid(4) + 2;
        let columns = (placement.x - reach).max(0)..(placement.x + reach).min(self.side());
        for y in (placement.y - reach).max(0)..(placement.y + reach).min(self.side()) {
            for x in columns.clone() {
                let dx = i64::from(2 * (x - placement.x) + 1);
                let dy = i64::from(2 * (y - placement.y) + 1);
                // 16.16 fixed point, from the middle of the picture to the corner of its pixels.
                let mut u = (dx * cos + dy * sin) / 2;
                let v = (dy * cos - dx * sin) / 2 + (height << 15) - (1 << 15);
                if placement.mirrored {
                    u = -u;
                }
                let sample = bilinear(&picture, u + (width << 15) - (1 << 15), v);
                self.lay(x, y, sample);
            }
        }
    }

    /// Lays a premultiplied sample over one pixel.
    fn lay(&mut self, x: i32, y: i32, sample: [u8; 4]) {
        if sample[3] == 0 {
            return;
        }
        let start = 3 * (y * self.side() + x) as usize;
        let rest = 255 - u32::from(sample[3]);
        for (below, above) in self.pixels[start..start + 3].iter_mut().zip(sample) {
            let kept = (u32::from(*below) * rest + 127) / 255;
            *below = (u32::from(above) + kept).min(255) as u8;
        }
    }

    pub(crate) fn into_image(self) -> RgbImage {
        let side = self.side;
        // The buffer has exactly side * side * 3 bytes, so `from_raw` cannot fail.
        RgbImage::from_raw(side, side, self.pixels).unwrap_or_else(|| RgbImage::new(side, side))
    }
}

/// The premultiplied colour at `(u, v)` in 16.16 fixed point; transparent outside.
fn bilinear(picture: &Raster, u: i64, v: i64) -> [u8; 4] {
    let (x, y) = (u >> 16, v >> 16);
    if x < -1 || y < -1 || x >= i64::from(picture.width) || y >= i64::from(picture.height) {
        return [0; 4];
    }
    let (fx, fy) = (((u >> 8) & 255) as u32, ((v >> 8) & 255) as u32);
    let mut sums = [0u32; 4];
    for (dx, dy, weight) in
        [(0, 0, (256 - fx) * (256 - fy)), (1, 0, fx * (256 - fy)), (0, 1, (256 - fx) * fy), (1, 1, fx * fy)]
    {
        let (sx, sy) = (x + dx, y + dy);
        if sx < 0 || sy < 0 || sx >= i64::from(picture.width) || sy >= i64::from(picture.height) {
            continue;
        }
        let start = 4 * (sy * i64::from(picture.width) + sx) as usize;
        for (sum, value) in sums.iter_mut().zip(&picture.rgba[start..start + 4]) {
            *sum += weight * u32::from(*value);
        }
    }
    sums.map(|sum| ((sum + (1 << 15)) >> 16) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square() -> Raster {
        // Left half red, right half blue, opaque.
        let rgba = (0..16 * 16).flat_map(|i| if i % 16 < 8 { [255, 0, 0, 255] } else { [0, 0, 255, 255] });
        Raster { width: 16, height: 16, rgba: rgba.collect() }
    }

    #[test]
    fn pictures_land_where_they_are_placed() {
        let mut canvas = Canvas::new(32, [255; 3]);
        canvas.draw(&square(), Placement::at(16, 16, 16));
        let plain = canvas.into_image();
        assert_eq!(plain.get_pixel(10, 16).0, [255, 0, 0]);
        assert_eq!(plain.get_pixel(21, 16).0, [0, 0, 255]);
        assert_eq!(plain.get_pixel(4, 4).0, [255; 3]);

        let mut canvas = Canvas::new(32, [255; 3]);
        canvas.draw(&square(), Placement::at(16, 16, 16).mirrored(true));
        assert_eq!(canvas.into_image().get_pixel(10, 16).0, [0, 0, 255]);

        // A quarter turn (tan(45 degrees) = 64 / 64) brings left to the top or the bottom.
        let mut canvas = Canvas::new(32, [255; 3]);
        canvas.draw(&square(), Placement::at(16, 16, 16).turned(64));
        let turned = canvas.into_image();
        assert_ne!(turned.get_pixel(16, 10).0, turned.get_pixel(16, 21).0);
        assert_eq!(turned.get_pixel(10, 10).0, turned.get_pixel(21, 10).0);
    }

    #[test]
    fn nothing_outside_the_canvas_is_touched() {
        let mut canvas = Canvas::new(8, [9; 3]);
        canvas.draw(&square(), Placement::at(-100, 200, 30).turned(5));
        canvas.blend(-1, 3, [0; 3], 255);
        canvas.blend(8, 3, [0; 3], 255);
        assert!(canvas.into_image().pixels().all(|p| p.0 == [9; 3]));
    }

    #[test]
    fn drawing_is_pinned_to_the_byte() {
        use sha2::{Digest, Sha256};
        let mut canvas = Canvas::new(96, [230, 240, 250]);
        canvas.draw(&square(), Placement::at(40, 44, 61).turned(7));
        canvas.draw(&square(), Placement::at(70, 30, 7).turned(-11).mirrored(true));
        canvas.prohibition([50, 50], 40, 8, [200, 20, 30]);
        canvas.brackets([50, 50], [40, 38], 15, 4, [0, 120, 60]);
        canvas.bars([30, 60], [20, 25], 4, 3, [60; 3]);
        canvas.drop([80, 80], 9, [165, 15, 20]);
        canvas.panel([48, 8], [30, 7], 3, [250, 240, 180]);
        canvas.write([48, 8], 1, "KEEP OUT?", [0; 3]);
        let digest = Sha256::digest(canvas.into_image().as_raw());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "f475891cb31ffbacd7defdc55bd7dafbf314028a1b23ab99f85ffd0b8182d2ac");
    }
}
