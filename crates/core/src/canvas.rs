//! An image on a one-coloured ground, which is never stored.

use std::ops::Range;

use image::RgbImage;

/// Pixels in a larger one-coloured rectangle: the square around a 1 x 60,000 image would fill 10 GB.
#[derive(Debug, Clone, Copy)]
pub struct Canvas<'a> {
    pixels: &'a [u8],
    inner: (u32, u32),
    offset: (u32, u32),
    size: (u32, u32),
    pub(crate) colour: [u8; 3],
}

/// Where an image of that width and height begins in the smallest square around it.
pub(crate) fn square_offset((width, height): (u32, u32)) -> (u32, u32) {
    let side = width.max(height);
    ((side - width) / 2, (side - height) / 2)
}

impl<'a> Canvas<'a> {
    /// The image without a border.
    pub fn of(image: &'a RgbImage) -> Self {
        let size = image.dimensions();
        Self { pixels: image.as_raw(), inner: size, offset: (0, 0), size, colour: [0; 3] }
    }

    /// The image in the middle of the smallest square around it, an odd pixel below or to the right
    /// (reference: LLaVA `expand2square`).
    pub fn square(image: &'a RgbImage, colour: [u8; 3]) -> Self {
        let size = image.dimensions();
        let side = size.0.max(size.1);
        Self { offset: square_offset(size), size: (side, side), colour, ..Self::of(image) }
    }

    /// Rows of `width` pixels, of which the first stands in column and row `offset`.
    pub(crate) fn of_pixels(pixels: &'a [u8], width: u32, offset: (u32, u32)) -> Self {
        let inner = (width, (pixels.len() / 3) as u32 / width.max(1));
        Self { pixels, inner, offset, size: (offset.0 + inner.0, offset.1 + inner.1), colour: [0; 3] }
    }

    /// Width and height, with the border.
    pub fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    /// The columns that are not border.
    pub(crate) fn columns(&self) -> Range<usize> {
        self.offset.0 as usize..(self.offset.0 + self.inner.0) as usize
    }

    /// The rows that are not border.
    pub(crate) fn rows(&self) -> Range<usize> {
        self.offset.1 as usize..(self.offset.1 + self.inner.1) as usize
    }

    /// Row `y` without its border; `None` above and below the image.
    pub(crate) fn row(&self, y: usize) -> Option<&'a [u8]> {
        let stride = self.inner.0 as usize * 3;
        let y = y.checked_sub(self.offset.1 as usize).filter(|y| *y < self.inner.1 as usize)?;
        Some(&self.pixels[y * stride..][..stride])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odd_pixel_is_below_and_to_the_right() {
        let image = |width, height| RgbImage::from_raw(width, height, (0..12).collect()).unwrap();
        let wide = image(4, 1);
        let canvas = Canvas::square(&wide, [7, 8, 9]);
        assert_eq!((canvas.dimensions(), canvas.columns(), canvas.rows()), ((4, 4), 0..4, 1..2));
        assert_eq!([0, 1, 2, 3].map(|y| canvas.row(y)), [None, Some(wide.as_raw().as_slice()), None, None]);

        let high = image(1, 4);
        let canvas = Canvas::square(&high, [7, 8, 9]);
        assert_eq!((canvas.dimensions(), canvas.columns(), canvas.rows()), ((4, 4), 1..2, 0..4));
        assert_eq!(canvas.row(2), Some(&[6, 7, 8][..]));
    }
}
