//! Three positions for every token: time, row and column.

use safevlm_nn::{PatchGrid, Positions, Sequences};
use thiserror::Error;

/// The visual tokens of the prompt are not those of the images.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImageTokensError {
    /// An image's tokens are interrupted, or too few.
    #[error(
        "image {image} needs {expected} image tokens in a row but the prompt has {found}; expand each image placeholder \
         to the tokens of its image"
    )]
    Interrupted {
        /// Which image, counted from 1.
        image: usize,
        /// Visual tokens of its grid.
        expected: usize,
        /// Image tokens that follow one another.
        found: usize,
    },
    /// There are image tokens without an image, or images without tokens.
    #[error(
        "the prompt has image tokens for {placeholders} images but {images} were given; use one placeholder an image"
    )]
    Count {
        /// Images whose tokens the prompt has.
        placeholders: usize,
        /// Images.
        images: usize,
    },
    /// An image without visual tokens.
    #[error("image {image} has no visual token; its grid is smaller than one block of patches")]
    Empty {
        /// Which image, counted from 1.
        image: usize,
    },
}

/// Time, row and column of every token (reference: transformers `Qwen2_5_VLModel.get_rope_index`). Give them
/// to [`Sequences::with_positions`], which counts on behind them while decoding.
///
/// A token of text has one position on all three axes, one more than the greatest before it. The tokens of an
/// image share the time of its start and are numbered by row and column from there. `grids` are those of the
/// images in reading order, before `merge` x `merge` patches become one token. Padding has position 0. Every branch
/// of a row goes on from the end of its stem.
///
/// # Errors
///
/// If the image tokens are not those of the images.
pub fn image_positions(
    sequences: &Sequences,
    grids: &[PatchGrid],
    merge: usize,
) -> Result<Positions, ImageTokensError> {
    let (batch, tokens) = (sequences.batch(), sequences.tokens());
    let mut axes = vec![vec![0; batch * tokens]; 3];
    let mut images = grids.iter().map(|grid| grid.merged(merge)).enumerate();
    let mut placed = 0;
    for row in 0..batch {
        let (ids, valid, parts) = (sequences.row(row), sequences.valid(row), sequences.branches(row));
        let is_image = |at: usize| valid[at] && Some(ids[at]) == sequences.image_token();
        let is_same_part = |a: usize, b: usize| parts.is_none_or(|parts| parts[a] == parts[b]);
        let (mut next, mut behind_stem, mut at) = (0, None, 0);
        while at < tokens {
            if at > 0 && !is_same_part(at - 1, at) {
                // Every branch goes on from the end of the stem, which is where the first one begins.
                next = *behind_stem.get_or_insert(next);
            }
            if !is_image(at) {
                if valid[at] {
                    axes.iter_mut().for_each(|axis| axis[row * tokens + at] = next);
                    next += 1;
                }
                at += 1;
                continue;
            }
            placed += 1;
            let count = || ImageTokensError::Count { placeholders: placed, images: grids.len() };
            let (nth, grid) = images.next().ok_or_else(count)?;
            let (image, expected) = (nth + 1, grid.patches());
            if expected == 0 {
                return Err(ImageTokensError::Empty { image });
            }
            let run = (at..tokens).take_while(|end| is_image(*end) && is_same_part(at, *end));
            let found = run.take(expected).count();
            if found < expected {
                return Err(ImageTokensError::Interrupted { image, expected, found });
            }
            for token in 0..expected {
                let place =
                    [token / (grid.rows * grid.columns), token / grid.columns % grid.rows, token % grid.columns];
                for (axis, offset) in axes.iter_mut().zip(place) {
                    axis[row * tokens + at + token] = next + offset as i32;
                }
            }
            next += grid.rows.max(grid.columns) as i32;
            at += expected;
        }
    }
    match placed == grids.len() {
        true => Ok(Positions::from_axes(axes, batch, tokens)),
        false => Err(ImageTokensError::Count { placeholders: placed, images: grids.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safevlm_nn::Branched;

    const IMAGE: u32 = 9;

    #[test]
    fn an_image_is_numbered_by_row_and_column() {
        let rows = Sequences::single(vec![1, 2, 9, 9, 9, 9, 9, 9, 3, 4], Some(IMAGE));
        let positions = image_positions(&rows, &[PatchGrid::image(4, 6)], 2).unwrap();
        assert_eq!(positions.axis(0), [0, 1, 2, 2, 2, 2, 2, 2, 5, 6]);
        assert_eq!(positions.axis(1), [0, 1, 2, 2, 2, 3, 3, 3, 5, 6]);
        assert_eq!(positions.axis(2), [0, 1, 2, 3, 4, 2, 3, 4, 5, 6]);
        // Decoding goes on behind the greatest position, not behind the number of tokens.
        let mut rows = rows.with_positions(positions);
        rows.push(&[5]);
        assert_eq!(rows.positions(9, 11), Positions::from_axes(vec![vec![6, 7]; 3], 1, 2));
    }

    #[test]
    fn text_alone_has_plain_positions() {
        let rows = Sequences::single(vec![1, 2, 3], Some(IMAGE));
        let positions = image_positions(&rows, &[], 2).unwrap();
        assert_eq!(positions, Positions::from_axes(vec![vec![0, 1, 2]; 3], 1, 3));
        // Without an image token no id stands for an image.
        let rows = Sequences::single(vec![IMAGE, IMAGE], None);
        assert_eq!(image_positions(&rows, &[], 2).unwrap().axis(0), [0, 1]);
    }

    #[test]
    fn images_side_by_side_are_told_apart() {
        let rows = Sequences::single(vec![9, 9, 9, 1], Some(IMAGE));
        let positions = image_positions(&rows, &[PatchGrid::image(2, 4), PatchGrid::image(2, 2)], 2).unwrap();
        assert_eq!((positions.axis(0), positions.axis(2)), (&[0, 0, 2, 3][..], &[0, 1, 2, 3][..]));
    }

    #[test]
    fn branches_go_on_from_the_end_of_their_stem() {
        let row = Branched { stem: vec![1, 9, 9, 9, 9], branches: vec![vec![2, 3], vec![4], vec![5, 6]] };
        let rows = Sequences::branched(&[row, Branched { stem: vec![7], branches: vec![vec![8]] }], Some(IMAGE), 0);
        let positions = image_positions(&rows, &[PatchGrid::image(4, 4)], 2).unwrap();
        assert_eq!(positions.row(0, 0), [0, 1, 1, 1, 1, 3, 4, 3, 3, 4]);
        assert_eq!(positions.row(1, 0), [0, 1, 1, 2, 2, 3, 4, 3, 3, 4]);
        assert_eq!(positions.row(2, 1), [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn wrong_counts_are_errors() {
        let rows = Sequences::single(vec![9, 9, 1, 9, 9], Some(IMAGE));
        let error = |grids: &[PatchGrid]| image_positions(&rows, grids, 2).unwrap_err();
        let two = PatchGrid::image(2, 4);
        assert_eq!(error(&[]), ImageTokensError::Count { placeholders: 1, images: 0 });
        assert_eq!(error(&[two]), ImageTokensError::Count { placeholders: 2, images: 1 });
        assert_eq!(error(&[two; 3]), ImageTokensError::Count { placeholders: 2, images: 3 });
        let interrupted = ImageTokensError::Interrupted { image: 2, expected: 4, found: 2 };
        assert_eq!(error(&[two, PatchGrid::image(4, 4)]), interrupted);
        assert_eq!(error(&[PatchGrid::image(0, 4)]), ImageTokensError::Empty { image: 1 });
        assert!(interrupted.to_string().contains("image 2 needs 4"));
    }
}
