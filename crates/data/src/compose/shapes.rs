//! Drawn shapes: rings, bars, frames, drops. Coverage is counted on a 4 x 4 grid in each pixel.

use super::Canvas;

/// Quarter pixels: the unit of every length in this file.
const Q: i32 = 4;

impl Canvas {
    /// Fills what `inside` accepts within the box of centre and half sides, all in pixels;
    /// `inside` gets eighths of pixels relative to the centre.
    fn fill(&mut self, [x, y]: [i32; 2], [w, h]: [i32; 2], colour: [u8; 3], inside: impl Fn(i32, i32) -> bool) {
        for py in (y - h - 1).max(0)..(y + h + 2).min(self.side()) {
            for px in (x - w - 1).max(0)..(x + w + 2).min(self.side()) {
                let mut count = 0u32;
                for sy in 0..Q {
                    for sx in 0..Q {
                        let ex = 8 * (px - x) + 2 * sx + 1;
                        let ey = 8 * (py - y) + 2 * sy + 1;
                        count += u32::from(inside(ex, ey));
                    }
                }
                self.blend(px, py, colour, (count * 255 / 16) as u8);
            }
        }
    }

    /// A disc.
    pub(super) fn disc(&mut self, centre: [i32; 2], radius: i32, colour: [u8; 3]) {
        let limit = (8 * radius) * (8 * radius);
        self.fill(centre, [radius; 2], colour, |x, y| x * x + y * y <= limit);
    }

    /// A ring whose outer edge has `radius`.
    pub(super) fn ring(&mut self, centre: [i32; 2], radius: i32, thickness: i32, colour: [u8; 3]) {
        let outer = (8 * radius) * (8 * radius);
        let inner = (8 * (radius - thickness)) * (8 * (radius - thickness));
        self.fill(centre, [radius; 2], colour, |x, y| {
            let square = x * x + y * y;
            square <= outer && square >= inner
        });
    }

    /// A straight stroke with round ends.
    pub(super) fn stroke(&mut self, from: [i32; 2], to: [i32; 2], thickness: i32, colour: [u8; 3]) {
        let centre = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
        let half = [0, 1].map(|i| (from[i] - to[i]).abs() / 2 + thickness + 1);
        let [ax, ay] = [0, 1].map(|i| i64::from(8 * (from[i] - centre[i])));
        let [dx, dy] = [0, 1].map(|i| i64::from(8 * (to[i] - from[i])));
        let length = (dx * dx + dy * dy).max(1);
        let limit = i64::from(4 * thickness) * i64::from(4 * thickness);
        self.fill(centre, half, colour, |x, y| {
            let (px, py) = (i64::from(x) - ax, i64::from(y) - ay);
            // The nearest point of the stroke is `along / length` of the way.
            let along = (px * dx + py * dy).clamp(0, length);
            let (ex, ey) = (px * length - along * dx, py * length - along * dy);
            // Halve the bits before squaring: lengths here stay below 2^12.
            let (ex, ey) = (ex / length, ey / length);
            ex * ex + ey * ey <= limit
        });
    }

    /// A box with round corners, of half sides `half`.
    pub(super) fn panel(&mut self, centre: [i32; 2], half: [i32; 2], corner: i32, colour: [u8; 3]) {
        let [w, h] = half.map(|side| 8 * (side - corner));
        let limit = (8 * corner) * (8 * corner);
        self.fill(centre, half, colour, |x, y| {
            let (dx, dy) = ((x.abs() - w).max(0), (y.abs() - h).max(0));
            dx * dx + dy * dy <= limit
        });
    }

    /// A falling drop, point upwards, of that half height.
    pub(super) fn drop(&mut self, centre: [i32; 2], half: i32, colour: [u8; 3]) {
        let radius = 8 * half * 5 / 8;
        self.fill(centre, [half; 2], colour, |x, y| {
            let low = y - (8 * half - radius);
            let round = x * x + low * low <= radius * radius;
            // Above the middle of the round part the sides run straight to the point.
            let height = y + 8 * half;
            let width = 2 * 8 * half - radius;
            round || (low < 0 && height >= 0 && x.abs() * width <= radius * height * 15 / 16)
        });
    }

    /// A ring with a slash: the sign that forbids.
    pub(super) fn prohibition(&mut self, centre: [i32; 2], radius: i32, thickness: i32, colour: [u8; 3]) {
        self.ring(centre, radius, thickness, colour);
        // 0.7071 of the radius to the middle of the ring.
        let reach = (radius - thickness / 2) * 181 / 256;
        let [x, y] = centre;
        self.stroke([x - reach, y - reach], [x + reach, y + reach], thickness, colour);
    }

    /// A cross over everything.
    pub(super) fn cross(&mut self, [x, y]: [i32; 2], reach: i32, thickness: i32, colour: [u8; 3]) {
        self.stroke([x - reach, y - reach], [x + reach, y + reach], thickness, colour);
        self.stroke([x - reach, y + reach], [x + reach, y - reach], thickness, colour);
    }

    /// Four corners of a box, as face recognition draws them.
    pub(super) fn brackets(&mut self, [x, y]: [i32; 2], half: [i32; 2], arm: i32, thickness: i32, colour: [u8; 3]) {
        for (sx, sy) in [(-1, -1), (1, -1), (-1, 1), (1, 1)] {
            let corner = [x + sx * half[0], y + sy * half[1]];
            self.stroke(corner, [corner[0] - sx * arm, corner[1]], thickness, colour);
            self.stroke(corner, [corner[0], corner[1] - sy * arm], thickness, colour);
        }
    }

    /// The upright bars of a cage and its two rails.
    pub(super) fn bars(&mut self, [x, y]: [i32; 2], half: [i32; 2], count: i32, thickness: i32, colour: [u8; 3]) {
        for rail in [-half[1], half[1]] {
            self.stroke([x - half[0], y + rail], [x + half[0], y + rail], thickness + 2, colour);
        }
        for bar in 0..count {
            let column = x - half[0] + 2 * half[0] * bar / (count - 1).max(1);
            self.stroke([column, y - half[1]], [column, y + half[1]], thickness, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(draw: impl Fn(&mut Canvas)) -> usize {
        let mut canvas = Canvas::new(64, [255; 3]);
        draw(&mut canvas);
        canvas.into_image().pixels().filter(|p| p.0[0] < 128).count()
    }

    #[test]
    fn areas_are_about_right() {
        let about = |count: usize, wanted: usize| count.abs_diff(wanted) * 20 <= wanted;
        assert!(about(painted(|c| c.disc([32, 32], 20, [0; 3])), 1257));
        assert!(about(painted(|c| c.ring([32, 32], 20, 5, [0; 3])), 550));
        assert!(about(painted(|c| c.panel([32, 32], [20, 10], 2, [0; 3])), 800));
        // 40 long and 6 thick, with half a disc at either end.
        assert!(about(painted(|c| c.stroke([12, 32], [52, 32], 6, [0; 3])), 268));
        let drop = painted(|c| c.drop([32, 32], 20, [0; 3]));
        assert!((450..900).contains(&drop), "{drop}");
    }

    #[test]
    fn the_edge_of_the_canvas_is_safe() {
        painted(|c| c.prohibition([0, 63], 40, 8, [0; 3]));
        painted(|c| c.brackets([0, 0], [50, 50], 20, 6, [0; 3]));
        painted(|c| c.bars([60, 5], [40, 40], 1, 3, [0; 3]));
        painted(|c| c.cross([-90, 300], 10, 3, [0; 3]));
    }
}
