//! Token rows of a batch, with padding and the places of visual tokens, kept on the host.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::mask::AttentionMask;
use crate::positions::Positions;

/// On which side short rows are filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Before the row, so that all rows end together and can be continued.
    Left,
    /// After the row, as training does.
    Right,
}

/// A batch of token rows of equal length, in which every visual token is written as `image_token`.
///
/// Rows grow by [`push`](Self::push) while text is generated; masks and positions follow from them.
#[derive(Clone, Debug)]
pub struct Sequences {
    rows: Vec<Vec<u32>>,
    valid: Vec<Vec<bool>>,
    /// For each token the branch it belongs to; none where no row has branches.
    branches: Option<Vec<Vec<Branch>>>,
    image_token: Option<u32>,
    placed: Option<Positions>,
}

/// A beginning and several ways in which it goes on, none of which sees another: as many questions
/// about one image cost one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branched {
    /// Tokens that every branch follows; images end inside it.
    pub stem: Vec<u32>,
    /// The tokens of each branch.
    pub branches: Vec<Vec<u32>>,
}

/// Which part of a [`Branched`] row a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Seen by every branch.
    Stem,
    /// Seen by itself only.
    Nth(usize),
}

impl Sequences {
    /// Pads `rows` to the longest of them.
    pub fn new(mut rows: Vec<Vec<u32>>, image_token: Option<u32>, pad: u32, padding: Padding) -> Self {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut valid = Vec::with_capacity(rows.len());
        for row in &mut rows {
            let missing = longest - row.len();
            let mut mask = vec![true; row.len()];
            let at = if padding == Padding::Left { 0 } else { row.len() };
            row.splice(at..at, std::iter::repeat_n(pad, missing));
            mask.splice(at..at, std::iter::repeat_n(false, missing));
            valid.push(mask);
        }
        Self { rows, valid, branches: None, image_token, placed: None }
    }

    /// Rows with branches, one branch behind another, padded on the right. Every branch
    /// goes on from the position at which its stem ends.
    pub fn branched(rows: &[Branched], image_token: Option<u32>, pad: u32) -> Self {
        let tokens =
            rows.iter().map(|row| [std::slice::from_ref(&row.stem), row.branches.as_slice()].concat().concat());
        let mut sequences = Self::new(tokens.collect(), image_token, pad, Padding::Right);
        let length = sequences.tokens();
        let part_of = |row: &Branched| {
            let nth = |(nth, branch): (usize, &Vec<u32>)| std::iter::repeat_n(Branch::Nth(nth), branch.len());
            let mut parts = vec![Branch::Stem; row.stem.len()];
            parts.extend(row.branches.iter().enumerate().flat_map(nth));
            // Padding is a further branch, so that no token sees it.
            parts.resize(length, Branch::Nth(row.branches.len()));
            parts
        };
        let parts: Vec<Vec<Branch>> = rows.iter().map(part_of).collect();
        let positions = parts.iter().flat_map(|row| branch_positions(row)).collect();
        sequences.branches = Some(parts);
        sequences.with_positions(Positions::from_ids(positions, rows.len(), length))
    }

    /// One row, without padding.
    pub fn single(row: Vec<u32>, image_token: Option<u32>) -> Self {
        Self { valid: vec![vec![true; row.len()]], rows: vec![row], branches: None, image_token, placed: None }
    }

    /// Several rows that begin with this single one and go on with one of `endings` each. Short endings are padded in
    /// front, so that all rows end together and can be continued.
    ///
    /// # Panics
    ///
    /// If this is not one row, or it has branches, which is a mistake of the caller.
    pub fn continued(self, endings: &[Vec<u32>], pad: u32) -> Self {
        let ([row], [valid], None) = (&self.rows[..], &self.valid[..], &self.branches) else {
            panic!("one row without branches is continued");
        };
        let longest = endings.iter().map(Vec::len).max().unwrap_or(0);
        let missing = |ending: &Vec<u32>| longest - ending.len();
        let row_of = |ending: &Vec<u32>| [&row[..], &vec![pad; missing(ending)], ending].concat();
        let valid_of =
            |ending: &Vec<u32>| [&valid[..], &vec![false; missing(ending)], &vec![true; ending.len()]].concat();
        let placed = self.placed.as_ref().map(|placed| {
            let next = placed.next(0);
            let axis = |axis: usize| {
                let row_of = |ending: &Vec<u32>| {
                    let pads = std::iter::repeat_n(next, missing(ending));
                    let positions = pads.chain(next..next + ending.len() as i32);
                    placed.row(axis, 0).iter().copied().chain(positions).collect::<Vec<_>>()
                };
                endings.iter().flat_map(row_of).collect()
            };
            Positions::from_axes((0..placed.axes()).map(axis).collect(), endings.len(), row.len() + longest)
        });
        Self {
            rows: endings.iter().map(row_of).collect(),
            valid: endings.iter().map(valid_of).collect(),
            branches: None,
            image_token: self.image_token,
            placed,
        }
    }

    /// Gives the tokens so far positions of their own, where visual tokens do not simply follow one
    /// another. Tokens pushed later count on behind them.
    ///
    /// # Panics
    ///
    /// If `positions` is of another shape, which is a mistake of the caller.
    pub fn with_positions(mut self, positions: Positions) -> Self {
        let shape = (positions.batch(), positions.tokens());
        assert_eq!(shape, (self.batch(), self.tokens()), "one position a token");
        self.placed = Some(positions);
        self
    }

    /// Number of rows.
    pub fn batch(&self) -> usize {
        self.rows.len()
    }

    /// Number of tokens in each row, padding included.
    pub fn tokens(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// The ids of one row, padding included.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.rows[row]
    }

    /// Which tokens of one row are not padding.
    pub fn valid(&self, row: usize) -> &[bool] {
        &self.valid[row]
    }

    /// The id that stands for visual tokens.
    pub fn image_token(&self) -> Option<u32> {
        self.image_token
    }

    /// Which branch each token of one row belongs to; none where no row has branches.
    pub fn branches(&self, row: usize) -> Option<&[Branch]> {
        self.branches.as_ref().map(|rows| rows[row].as_slice())
    }

    /// Appends one generated token to each row; rows with branches cannot grow.
    pub fn push(&mut self, next: &[u32]) {
        for ((row, valid), id) in self.rows.iter_mut().zip(&mut self.valid).zip(next) {
            row.push(*id);
            valid.push(true);
        }
    }

    /// Ids from token `start` on, with visual tokens as id 0 (their embeddings come from the image).
    ///
    /// # Shapes
    ///
    /// - output `[batch, tokens - start]`
    pub fn ids(&self, start: usize, device: &Device) -> Tensor<2, Int> {
        let text = |id: &u32| if self.image_token == Some(*id) { 0 } else { *id as i32 };
        let ids: Vec<i32> = self.rows.iter().flat_map(|row| row[start..].iter().map(text)).collect();
        Tensor::from_data(TensorData::new(ids, [self.batch(), self.tokens() - start]), device)
    }

    /// Position of each token from `start` to `end`: as given, or counted without the padding.
    pub fn positions(&self, start: usize, end: usize) -> Positions {
        if let Some(placed) = &self.placed {
            return placed.slice(start..end);
        }
        let mut ids = Vec::with_capacity(self.batch() * (end - start));
        for valid in &self.valid {
            let mut next = 0;
            for (token, is_token) in valid[..end].iter().enumerate() {
                if token >= start {
                    ids.push(next);
                }
                next += i32::from(*is_token);
            }
        }
        Positions::from_ids(ids, self.batch(), end - start)
    }

    /// The causal mask of tokens `start..end` over tokens `0..end`, which knows where images stand. A
    /// model that lets the tokens of an image see one another must get each image in one piece:
    /// tokens behind `end` cannot be seen.
    pub fn mask(&self, start: usize, end: usize, device: &Device) -> AttentionMask {
        let padded = self.valid.iter().any(|row| row[..end].contains(&false));
        let valid = padded.then_some(self.valid.as_slice());
        let mask = match &self.branches {
            Some(rows) => AttentionMask::branched(rows, start..end, device),
            None => AttentionMask::causal(self.batch(), end - start, start, valid, device),
        };
        let is_image = |id: &u32| self.image_token == Some(*id);
        let images = self.rows.iter().any(|row| row[start..end].iter().any(is_image));
        let images = images.then(|| self.rows.iter().map(|row| number_runs(&row[..end], is_image)).collect());
        mask.with_tokens(self.positions(0, end), images)
    }

    /// `tokens` in pieces of about `size` tokens, none of which ends inside an image.
    pub(crate) fn pieces(&self, tokens: Range<usize>, size: usize) -> Vec<Range<usize>> {
        let is_image = |row: &[u32], at: usize| row.get(at).is_some_and(|id| self.image_token == Some(*id));
        let inside_image = |at: usize| self.rows.iter().any(|row| is_image(row, at - 1) && is_image(row, at));
        let mut pieces = Vec::new();
        let mut start = tokens.start;
        while start < tokens.end {
            let mut end = (start + size.max(1)).min(tokens.end);
            while end < tokens.end && inside_image(end) {
                end += 1;
            }
            pieces.push(start..end);
            start = end;
        }
        pieces
    }

    /// Flat indices (`row · tokens + token`) of all visual tokens, in reading order.
    pub fn visual_tokens(&self) -> Vec<usize> {
        let flat = self.rows.iter().flatten().enumerate();
        flat.filter(|(_, id)| self.image_token == Some(**id)).map(|(at, _)| at).collect()
    }
}

/// Counts on in each branch from the end of the stem.
fn branch_positions(row: &[Branch]) -> Vec<i32> {
    let stem = row.iter().take_while(|branch| **branch == Branch::Stem).count();
    let (mut last, mut next) = (Branch::Stem, 0);
    let position = |branch: &Branch| {
        if *branch != last {
            (last, next) = (*branch, stem as i32);
        }
        next += 1;
        next - 1
    };
    row.iter().map(position).collect()
}

/// The number of the unbroken run of images that each token belongs to, from 1 on; 0 for others.
fn number_runs(row: &[u32], is_image: impl Fn(&u32) -> bool) -> Vec<u32> {
    let (mut runs, mut inside) = (0, false);
    let number = |id: &u32| {
        let before = std::mem::replace(&mut inside, is_image(id));
        runs += u32::from(inside && !before);
        if inside { runs } else { 0 }
    };
    row.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_rows_end_together_and_count_on_from_what_they_share() {
        let rows = Sequences::single(vec![7, 8], None).continued(&[vec![1, 2, 3], vec![4]], 0);
        assert_eq!((rows.row(0), rows.row(1)), (&[7, 8, 1, 2, 3][..], &[7, 8, 0, 0, 4][..]));
        assert_eq!(rows.valid(1), [true, true, false, false, true]);
        let positions = rows.positions(2, 5);
        assert_eq!((positions.row(0, 0), positions.row(0, 1)[2]), (&[2, 3, 4][..], 2));

        let placed = Positions::from_axes(vec![vec![0, 5], vec![0, 9]], 1, 2);
        let rows = Sequences::single(vec![7, 8], None).with_positions(placed);
        let positions = rows.continued(&[vec![1, 2], vec![4]], 0).positions(0, 5);
        assert_eq!((positions.row(0, 0), positions.row(1, 0)), (&[0, 5, 10, 11, 12][..], &[0, 9, 10, 11, 12][..]));
        assert_eq!(
            (positions.row(0, 1)[3..].to_vec(), positions.row(1, 1)[3..].to_vec()),
            (vec![10, 11], vec![10, 11])
        );
    }

    #[test]
    fn pieces_do_not_cut_images() {
        let rows = vec![vec![1, 9, 9, 9, 2, 3, 4], vec![1, 2, 3, 9, 9, 3, 4]];
        let rows = Sequences::new(rows, Some(9), 0, Padding::Left);
        assert_eq!(rows.pieces(0..7, 2), [0..5, 5..7]);
        assert_eq!(rows.pieces(0..7, 1), [0..1, 1..5, 5..6, 6..7]);
        assert_eq!(rows.pieces(0..7, 100), vec![0..7]);
        assert!(rows.pieces(3..3, 4).is_empty());
    }
}
