//! Pictures as premultiplied pixels: drawn from SVG or decoded from WebP, trimmed, recoloured.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits};
use resvg::{tiny_skia, usvg};

/// The longer side, in pixels, at which a vector picture is drawn.
const DRAWN_SIDE: u32 = 192;
/// No vendor's bitmap comes near this; a lying header stops here.
const MAX_SIDE: u32 = 1024;

/// A picture with premultiplied alpha, trimmed to what can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raster {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `[height, width, 4]`, red, green, blue (each at most alpha), alpha.
    pub(crate) rgba: Vec<u8>,
}

impl Raster {
    /// Draws an SVG document.
    pub(crate) fn from_svg(svg: &str) -> Result<Self, String> {
        let tree = usvg::Tree::from_str(svg, &usvg::Options::default()).map_err(|e| e.to_string())?;
        let (width, height) = (tree.size().width(), tree.size().height());
        let scale = DRAWN_SIDE as f32 / width.max(height);
        let side = |length: f32| ((length * scale) as u32).clamp(1, DRAWN_SIDE);
        let mut pixmap = tiny_skia::Pixmap::new(side(width), side(height)).ok_or("it has no area")?;
        let transform = tiny_skia::Transform::from_scale(scale, scale);
        resvg::render(&tree, transform, &mut pixmap.as_mut());
        let (width, height) = (pixmap.width(), pixmap.height());
        Self { width, height, rgba: pixmap.take() }.trimmed()
    }

    /// Decodes a WebP file.
    pub(crate) fn from_webp(bytes: &[u8]) -> Result<Self, String> {
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::WebP);
        reader.limits(limits);
        let picture = reader.decode().map_err(|e| e.to_string())?.into_rgba8();
        let (width, height) = picture.dimensions();
        let mut rgba = picture.into_raw();
        for pixel in rgba.chunks_exact_mut(4) {
            let alpha = pixel[3];
            for channel in &mut pixel[..3] {
                *channel = product(*channel, alpha);
            }
        }
        Self { width, height, rgba }.trimmed()
    }

    /// Cuts off the rows and columns in which nothing can be seen.
    fn trimmed(self) -> Result<Self, String> {
        let seen = |x: u32, y: u32| self.alpha(x, y) >= 8;
        let row = |y: &u32| (0..self.width).any(|x| seen(x, *y));
        let column = |x: &u32| (0..self.height).any(|y| seen(*x, y));
        let top = (0..self.height).find(row).ok_or("nothing in it can be seen")?;
        let bottom = (0..self.height).rfind(row).unwrap_or(top);
        let left = (0..self.width).find(column).unwrap_or(0);
        let right = (0..self.width).rfind(column).unwrap_or(left);
        let width = right - left + 1;
        let rgba = (top..=bottom)
            .flat_map(|y| {
                let start = 4 * (y * self.width + left) as usize;
                &self.rgba[start..start + 4 * width as usize]
            })
            .copied()
            .collect();
        Ok(Self { width, height: bottom - top + 1, rgba })
    }

    fn alpha(&self, x: u32, y: u32) -> u8 {
        self.rgba[4 * (y * self.width + x) as usize + 3]
    }

    /// The same picture at half the size.
    pub(crate) fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut rgba = Vec::with_capacity(4 * (width * height) as usize);
        for y in 0..height {
            for x in 0..width {
                for channel in 0..4 {
                    let mut sum = 2;
                    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                        let (sx, sy) = (2 * x + dx, 2 * y + dy);
                        if sx < self.width && sy < self.height {
                            sum += u32::from(self.rgba[4 * (sy * self.width + sx) as usize + channel]);
                        }
                    }
                    rgba.push((sum / 4) as u8);
                }
            }
        }
        Self { width, height, rgba }
    }

    /// The silhouette in one colour.
    pub(crate) fn tinted(mut self, colour: [u8; 3]) -> Self {
        for pixel in self.rgba.chunks_exact_mut(4) {
            for (channel, tint) in colour.into_iter().enumerate() {
                pixel[channel] = product(tint, pixel[3]);
            }
        }
        self
    }

    /// Multiplies the colours by `gains` (256 is 1.0), and moves them `grey` of 256 towards grey.
    pub(crate) fn regraded(mut self, gains: [i32; 3], grey: i32) -> Self {
        for pixel in self.rgba.chunks_exact_mut(4) {
            let alpha = i32::from(pixel[3]);
            let rgb = [0, 1, 2].map(|c| i32::from(pixel[c]));
            let mean = (77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2]) >> 8;
            for channel in 0..3 {
                let mixed = rgb[channel] + (((mean - rgb[channel]) * grey) >> 8);
                pixel[channel] = ((mixed * gains[channel]) >> 8).clamp(0, alpha) as u8;
            }
        }
        self
    }

    /// The picture with a rim of `radius` pixels in one colour around it, as on a sticker.
    pub(crate) fn rimmed(&self, radius: u32, colour: [u8; 3]) -> Self {
        let (width, height) = (self.width + 2 * radius, self.height + 2 * radius);
        let mut padded = vec![0u8; (width * height) as usize];
        for y in 0..self.height {
            for x in 0..self.width {
                padded[((y + radius) * width + x + radius) as usize] = self.alpha(x, y);
            }
        }
        let wide = spread(&padded, width as usize, height as usize, radius as usize, 1, width as usize);
        let full = spread(&wide, height as usize, width as usize, radius as usize, width as usize, 1);
        let mut rgba = Vec::with_capacity(4 * full.len());
        for y in 0..height {
            for x in 0..width {
                let rim = full[(y * width + x) as usize];
                let (sx, sy) = (x.wrapping_sub(radius), y.wrapping_sub(radius));
                let over = if sx < self.width && sy < self.height {
                    let start = 4 * (sy * self.width + sx) as usize;
                    [0, 1, 2, 3].map(|c| self.rgba[start + c])
                } else {
                    [0; 4]
                };
                let rest = product(rim, 255 - over[3]);
                for channel in 0..3 {
                    rgba.push(over[channel].saturating_add(product(colour[channel], rest)));
                }
                rgba.push(over[3].saturating_add(rest));
            }
        }
        Self { width, height, rgba }
    }
}

/// The largest value within `radius` along one axis: lines of `length` cells `step` apart, `lines`
/// of them `next` apart.
fn spread(cells: &[u8], length: usize, lines: usize, radius: usize, step: usize, next: usize) -> Vec<u8> {
    let mut out = vec![0; cells.len()];
    for line in 0..lines {
        for i in 0..length {
            let near = i.saturating_sub(radius)..(i + radius + 1).min(length);
            let most = near.map(|j| cells[line * next + j * step]).max();
            out[line * next + i * step] = most.unwrap_or(0);
        }
    }
    out
}

/// `a * b / 255`, rounded.
pub(crate) fn product(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOT: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10" width="10" height="10"><rect x="2" y="4" width="5" height="2" fill="#f00"/></svg>"##;

    #[test]
    fn svg_is_drawn_and_trimmed() {
        let dot = Raster::from_svg(DOT).unwrap();
        // 5 x 2 of 10 units at 19.2 pixels each; edges fall between pixels.
        assert!((95..=98).contains(&dot.width) && (38..=41).contains(&dot.height));
        let middle = 4 * (dot.height / 2 * dot.width + dot.width / 2) as usize;
        assert_eq!(dot.rgba[middle..middle + 4], [255, 0, 0, 255]);
    }

    #[test]
    fn bad_pictures_are_errors() {
        assert!(Raster::from_svg("<svg").is_err());
        let empty = DOT.replace("#f00", "none");
        assert_eq!(Raster::from_svg(&empty).unwrap_err(), "nothing in it can be seen");
        assert!(Raster::from_webp(b"RIFF").is_err());
    }

    #[test]
    fn colours_never_exceed_alpha() {
        let half = Raster { width: 1, height: 1, rgba: vec![100, 50, 0, 128] };
        let graded = half.clone().regraded([512, 256, 256], 0);
        assert_eq!(graded.rgba, [128, 50, 0, 128]);
        assert_eq!(half.clone().tinted([255, 0, 10]).rgba, [128, 0, 5, 128]);
        let rimmed = half.rimmed(1, [0, 0, 255]);
        assert_eq!((rimmed.width, rimmed.height), (3, 3));
        assert!(rimmed.rgba.chunks_exact(4).all(|p| p[..3].iter().all(|c| *c <= p[3])));
    }
}
