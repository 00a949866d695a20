//! Which position each token has, kept on the host because rotary tables are made there.

use std::ops::Range;

/// Position ids of a batch: one axis for text-only rotary embeddings, several for the multimodal kind
/// (time, height, width) and for the patches of an image (row, column).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    axes: Vec<Vec<i32>>,
    batch: usize,
    tokens: usize,
}

impl Positions {
    /// `start, start + 1, ..` for each of `batch` rows of `tokens` tokens.
    pub fn sequential(batch: usize, start: usize, tokens: usize) -> Self {
        let row = (start as i32)..(start + tokens) as i32;
        let ids = (0..batch).flat_map(|_| row.clone()).collect();
        Self { axes: vec![ids], batch, tokens }
    }

    /// One axis, from `batch` rows of equal length, row after row.
    ///
    /// # Panics
    ///
    /// If `ids` is not `batch · tokens` long, which is a mistake of the caller.
    pub fn from_ids(ids: Vec<i32>, batch: usize, tokens: usize) -> Self {
        Self::from_axes(vec![ids], batch, tokens)
    }

    /// Several axes, each as in [`from_ids`](Self::from_ids).
    ///
    /// # Panics
    ///
    /// If there is no axis, or one is not `batch · tokens` long, which is a mistake of the caller.
    pub fn from_axes(axes: Vec<Vec<i32>>, batch: usize, tokens: usize) -> Self {
        assert!(!axes.is_empty(), "at least one axis");
        assert!(axes.iter().all(|ids| ids.len() == batch * tokens), "one position a token");
        Self { axes, batch, tokens }
    }

    /// Number of rows.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of tokens in each row.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of axes.
    pub fn axes(&self) -> usize {
        self.axes.len()
    }

    /// The ids of one axis, `batch · tokens` long, row after row. An axis that is not there equals the
    /// last one: a token of text has the same position on every axis.
    pub fn axis(&self, axis: usize) -> &[i32] {
        &self.axes[axis.min(self.axes.len() - 1)]
    }

    /// The ids of one row on one axis.
    pub fn row(&self, axis: usize, row: usize) -> &[i32] {
        &self.axis(axis)[row * self.tokens..(row + 1) * self.tokens]
    }

    /// Tokens `range` of every row. Those behind the last one count on, on every axis alike, from the
    /// position that [`next`](Self::next) tells.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let tokens = range.len();
        let next: Vec<i32> = (0..self.batch).map(|row| self.next(row)).collect();
        let ids = |axis: usize| {
            let id = |row: usize, token: usize| match self.row(axis, row).get(token) {
                Some(id) => *id,
                None => next[row] + (token - self.tokens) as i32,
            };
            let rows = (0..self.batch).flat_map(|row| range.clone().map(move |token| (row, token)));
            rows.map(|(row, token)| id(row, token)).collect()
        };
        Self { axes: (0..self.axes.len()).map(ids).collect(), batch: self.batch, tokens }
    }

    /// The position of the token that follows the last one of `row`: one more than the greatest.
    pub fn next(&self, row: usize) -> i32 {
        let greatest = (0..self.axes.len()).flat_map(|axis| self.row(axis, row)).max();
        greatest.map_or(0, |id| id + 1)
    }
}
