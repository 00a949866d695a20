//! In which order the encoder keeps its patches, so that every group of patches that see each other is one
//! stretch of rows.

use safevlm_nn::{PatchGrid, Positions};
use thiserror::Error;

/// The grids and the patches do not belong together.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GridError {
    /// A side of a grid is not made of whole visual tokens.
    #[error(
        "a grid of {rows}x{columns} patches does not divide into blocks of {merge}x{merge}; resize the image to a \
         multiple of the block, as the image processor does"
    )]
    Uneven {
        /// Patches from top to bottom.
        rows: usize,
        /// Patches from left to right.
        columns: usize,
        /// Side of the block that becomes one visual token.
        merge: usize,
    },
    /// There is nothing to encode.
    #[error("there is an image without patches, or no image at all; give images of at least one visual token")]
    Empty,
    /// The number of patches is not that of the grids.
    #[error(
        "the grids have {expected} patches in all but {found} were given; take both from one call of the processor"
    )]
    Patches {
        /// Patches of all grids.
        expected: usize,
        /// Rows of the tensor.
        found: usize,
    },
    /// The patches have another size.
    #[error("a patch has {found} values, the encoder expects {expected}; use this checkpoint's own processor settings")]
    Values {
        /// Values in one of the encoder's patches.
        expected: usize,
        /// Columns of the tensor.
        found: usize,
    },
}

/// Stretches of equal length that follow one another; patches of one stretch see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Patches in each stretch.
    pub length: usize,
    /// Number of stretches.
    pub count: usize,
}

/// The order of the patches of a batch of images (reference: transformers `get_vision_window_index`).
///
/// Frame follows frame and in a frame window follows window, as in the reference; but windows of one size
/// stand together: first the whole ones, then those cut by the right edge, by the bottom edge and by both.
/// So a block attends in at most four batched calls a frame, and no window needs a mask. Attention does not
/// depend on the order.
#[derive(Clone, Debug)]
pub struct PatchLayout {
    /// The visual token (square of patches) that stands at each place.
    pub order: Vec<usize>,
    /// Where each visual token stands.
    pub inverse: Vec<usize>,
    /// The windows.
    pub windows: Vec<Run>,
    /// The frames; frames do not see each other.
    pub frames: Vec<Run>,
    /// Row and column of each patch in the new order; each patch is a row of its own.
    pub positions: Positions,
}

impl PatchLayout {
    /// The layout of images with these grids, when `merge` x `merge` patches become one visual token and a
    /// window is `window` visual tokens wide and high.
    ///
    /// # Errors
    ///
    /// If there is no grid or an empty one, or a grid is not made of whole visual tokens.
    pub fn new(grids: &[PatchGrid], merge: usize, window: usize) -> Result<Self, GridError> {
        if grids.is_empty() || grids.iter().any(|grid| grid.patches() == 0) {
            return Err(GridError::Empty);
        }
        let mut order = vec![];
        let (mut windows, mut frames) = (vec![], vec![]);
        let (mut rows, mut columns) = (vec![], vec![]);
        for grid in grids {
            if !grid.divides_into(merge) {
                return Err(GridError::Uneven { rows: grid.rows, columns: grid.columns, merge });
            }
            let tokens = grid.merged(merge);
            for _ in 0..grid.frames {
                let first = order.len();
                for (row, column, height, width) in window_corners(tokens.rows, tokens.columns, window) {
                    for row in row..row + height {
                        for column in column..column + width {
                            order.push(first + row * tokens.columns + column);
                            for patch in 0..merge * merge {
                                rows.push((row * merge + patch / merge) as i32);
                                columns.push((column * merge + patch % merge) as i32);
                            }
                        }
                    }
                    push(&mut windows, height * width * merge * merge);
                }
                push(&mut frames, grid.rows * grid.columns);
            }
        }
        let mut inverse = vec![0; order.len()];
        for (place, token) in order.iter().enumerate() {
            inverse[*token] = place;
        }
        let patches = rows.len();
        Ok(Self { order, inverse, windows, frames, positions: Positions::from_axes(vec![rows, columns], patches, 1) })
    }

    /// Number of patches.
    pub fn patches(&self) -> usize {
        self.positions.batch()
    }
}

/// Row, column, height and width of every window of a frame, windows of one size together.
fn window_corners(rows: usize, columns: usize, window: usize) -> Vec<(usize, usize, usize, usize)> {
    let mut corners = vec![];
    for (row_starts, height) in stretches(rows, window) {
        for (column_starts, width) in stretches(columns, window) {
            for row in &row_starts {
                corners.extend(column_starts.iter().map(|column| (*row, *column, height, width)));
            }
        }
    }
    corners
}

/// Starts and length of the whole stretches of `length`, and of the rest.
fn stretches(length: usize, window: usize) -> [(Vec<usize>, usize); 2] {
    let whole = length / window * window;
    let rest = if whole < length { vec![whole] } else { vec![] };
    [((0..whole).step_by(window).collect(), window), (rest, length - whole)]
}

fn push(runs: &mut Vec<Run>, length: usize) {
    match runs.last_mut() {
        Some(last) if last.length == length => last.count += 1,
        _ => runs.push(Run { length, count: 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_one_size_stand_together() {
        // 3 x 5 visual tokens in windows of 2 x 2.
        let layout = PatchLayout::new(&[PatchGrid::image(6, 10)], 2, 2).unwrap();
        assert_eq!(layout.order, [0, 1, 5, 6, 2, 3, 7, 8, 4, 9, 10, 11, 12, 13, 14]);
        let run = |length, count| Run { length, count };
        assert_eq!(layout.windows, [run(16, 2), run(8, 3), run(4, 1)]);
        assert_eq!(layout.frames, [run(60, 1)]);
        let (rows, columns) = (layout.positions.axis(0), layout.positions.axis(1));
        assert_eq!((&rows[..8], &columns[..8]), (&[0, 0, 1, 1, 0, 0, 1, 1][..], &[0, 1, 0, 1, 2, 3, 2, 3][..]));
        assert_eq!((rows[59], columns[59]), (5, 9));
    }

    #[test]
    fn every_layout_is_a_permutation_that_keeps_frames_together() {
        for (rows, columns) in [(2, 2), (4, 8), (8, 8), (10, 6), (18, 34)] {
            let grids = [PatchGrid { frames: 2, rows, columns }, PatchGrid::image(2, 4)];
            let layout = PatchLayout::new(&grids, 2, 4).unwrap();
            let patches = rows * columns * 2 + 8;
            assert_eq!(layout.patches(), patches);
            for runs in [&layout.windows, &layout.frames] {
                assert_eq!(runs.iter().map(|run| run.length * run.count).sum::<usize>(), patches);
            }
            let frame = rows * columns / 4;
            for (place, token) in layout.order.iter().enumerate() {
                assert_eq!(layout.inverse[*token], place);
                assert_eq!(place / frame, token / frame, "{rows}x{columns}");
            }
        }
    }

    #[test]
    fn a_grid_of_whole_windows_is_one_call() {
        let layout = PatchLayout::new(&[PatchGrid::image(16, 24), PatchGrid::image(8, 8)], 2, 4).unwrap();
        assert_eq!(layout.windows, [Run { length: 64, count: 7 }]);
    }

    #[test]
    fn impossible_grids_are_errors() {
        let uneven = PatchLayout::new(&[PatchGrid::image(4, 3)], 2, 4).unwrap_err();
        assert_eq!(uneven, GridError::Uneven { rows: 4, columns: 3, merge: 2 });
        assert_eq!(PatchLayout::new(&[], 2, 4).unwrap_err(), GridError::Empty);
        let empty = [PatchGrid::image(4, 4), PatchGrid::image(0, 4)];
        assert_eq!(PatchLayout::new(&empty, 2, 4).unwrap_err(), GridError::Empty);
    }
}
