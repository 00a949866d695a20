//! From 8-bit pixels to the numbers that an encoder reads, still without a tensor.

use image::RgbImage;

/// The number for each of the 256 levels of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelValues(Box<[[f32; 256]; 3]>);

impl PixelValues {
    /// `value` of every channel (0, 1, 2 for red, green, blue) and level.
    pub fn new(value: impl Fn(usize, u8) -> f32) -> Self {
        let channel = |channel| std::array::from_fn(|level| value(channel, level as u8));
        Self(Box::new([channel(0), channel(1), channel(2)]))
    }

    /// The numbers of `images` of one size: for each image its red, green and blue plane, row by row.
    ///
    /// # Shapes
    ///
    /// - output `[images, 3, height, width]`, row-major
    pub fn planes(&self, images: &[RgbImage]) -> Vec<f32> {
        let mut values = Vec::with_capacity(images.iter().map(|image| image.as_raw().len()).sum());
        for image in images {
            for (channel, table) in self.0.iter().enumerate() {
                values.extend(image.as_raw().iter().skip(channel).step_by(3).map(|level| table[usize::from(*level)]));
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_stand_one_behind_the_other() {
        let values = PixelValues::new(|channel, level| f32::from(level) * 10.0 + channel as f32);
        let image = |first| RgbImage::from_raw(2, 1, (first..first + 6).collect()).unwrap();
        let planes = values.planes(&[image(0), image(250)]);
        assert_eq!(planes[..6], [0.0, 30.0, 11.0, 41.0, 22.0, 52.0]);
        assert_eq!(planes[6..], [2500.0, 2530.0, 2511.0, 2541.0, 2522.0, 2552.0]);
    }
}
