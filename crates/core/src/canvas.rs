//! An image on a one-coloured ground, which is never stored.

use std::borrow::Cow;

use image::RgbImage;

/// An image with a border, read row by row: the square around a 1 x 60,000 image would fill 10 GB.
#[derive(Debug, Clone, Copy)]
pub struct Canvas<'a> {
    image: &'a RgbImage,
    width: u32,
    height: u32,
    colour: [u8; 3],
}

impl<'a> Canvas<'a> {
    /// The image without a border.
    pub fn of(image: &'a RgbImage) -> Self {
        Self { image, width: image.width(), height: image.height(), colour: [0; 3] }
    }

    /// The image in the middle of the smallest square around it, an odd pixel below or to the right
    /// (reference: LLaVA `expand2square`).
    pub fn square(image: &'a RgbImage, colour: [u8; 3]) -> Self {
        let side = image.width().max(image.height());
        Self { image, width: side, height: side, colour }
    }

    /// Width and height, with the border.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Row `y` as bytes; `None` above and below the image.
    pub(crate) fn row(&self, y: usize) -> Option<Cow<'a, [u8]>> {
        let height = self.image.height() as usize;
        let y = y.checked_sub((self.height as usize - height) / 2).filter(|y| *y < height)?;
        let stride = self.image.width() as usize * 3;
        let pixels = &self.image.as_raw()[y * stride..][..stride];
        if self.width == self.image.width() {
            return Some(Cow::Borrowed(pixels));
        }
        let mut row = self.background();
        row[(self.width - self.image.width()) as usize / 2 * 3..][..stride].copy_from_slice(pixels);
        Some(Cow::Owned(row))
    }

    /// A row without image.
    pub(crate) fn background(&self) -> Vec<u8> {
        self.colour.repeat(self.width as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odd_pixel_is_below_and_to_the_right() {
        let wide = RgbImage::from_raw(4, 1, (0..12).collect()).unwrap();
        let canvas = Canvas::square(&wide, [7, 8, 9]);
        let rows: Vec<_> = (0..4).map(|y| canvas.row(y).map(Cow::into_owned)).collect();
        assert_eq!(rows, [None, Some((0..12).collect()), None, None]);
        assert_eq!(canvas.background(), [7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9]);

        let high = RgbImage::from_raw(1, 4, (0..12).collect()).unwrap();
        let row = Canvas::square(&high, [7, 8, 9]).row(2).unwrap();
        assert_eq!(*row, [7, 8, 9, 6, 7, 8, 7, 8, 9, 7, 8, 9]);
    }
}
