//! Which position each token has, kept on the host because rotary tables are made there.

/// Position ids of a batch: one axis for text-only rotary embeddings, three (time, height, width)
/// for the multimodal kind.
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
        assert_eq!(ids.len(), batch * tokens, "one position a token");
        Self { axes: vec![ids], batch, tokens }
    }

    /// Number of rows.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of tokens in each row.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The ids of one axis, `batch · tokens` long, row after row.
    pub fn axis(&self, axis: usize) -> &[i32] {
        &self.axes[axis]
    }
}
