//! Which part of a picture a model sees.

use crate::canvas::square_offset;

/// A rectangle in a picture's pixels, of which column 0 begins at 0.0. What a processor crops away is
/// outside; where it pads, the rectangle is larger than the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its width, above 0.
    pub width: f64,
    /// Its height, above 0.
    pub height: f64,
}

impl View {
    /// All of a picture of that width and height.
    pub fn whole((width, height): (u32, u32)) -> Self {
        Self { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    /// The smallest square around a picture of that width and height, as [`Canvas::square`] pads it.
    ///
    /// [`Canvas::square`]: crate::canvas::Canvas::square
    pub fn square(size: (u32, u32)) -> Self {
        let side = f64::from(size.0.max(size.1));
        let (left, top) = square_offset(size);
        Self { left: -f64::from(left), top: -f64::from(top), width: side, height: side }
    }

    /// The part of this one that a rectangle takes, after all of it was scaled to `to` pixels.
    pub(crate) fn part(&self, to: (u32, u32), region: crate::resize::Region) -> Self {
        let (x, y) = (self.width / f64::from(to.0.max(1)), self.height / f64::from(to.1.max(1)));
        Self {
            left: self.left + f64::from(region.left) * x,
            top: self.top + f64::from(region.top) * y,
            width: f64::from(region.width) * x,
            height: f64::from(region.height) * y,
        }
    }
}
