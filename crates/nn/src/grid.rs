//! How many patches an image has, where images are not all of one size.

/// The patches of one image: `frames` times `rows` x `columns`; a still image has one frame
/// (reference: `image_grid_thw`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchGrid {
    /// Number of frames.
    pub frames: usize,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
}

impl PatchGrid {
    /// The grid of a still image.
    pub fn image(rows: usize, columns: usize) -> Self {
        Self { frames: 1, rows, columns }
    }

    /// Number of patches.
    pub fn patches(&self) -> usize {
        self.frames * self.rows * self.columns
    }

    /// The grid of visual tokens, when one stands for `merge` x `merge` patches.
    pub fn merged(&self, merge: usize) -> Self {
        Self { frames: self.frames, rows: self.rows / merge, columns: self.columns / merge }
    }

    /// Whether blocks of `merge` x `merge` patches cover every frame.
    pub fn divides_into(&self, merge: usize) -> bool {
        merge > 0 && self.rows.is_multiple_of(merge) && self.columns.is_multiple_of(merge)
    }
}
