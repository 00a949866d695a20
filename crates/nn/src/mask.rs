//! Every attention mask is made here.

use std::ops::Range;

use burn::tensor::{Bool, Device, Tensor, TensorData};

use crate::sequences::Branch;

/// Which keys each query may not see: `true` means hidden, `[batch, 1, queries, keys]`.
///
/// `None` inside means that nothing is hidden, as when one new token looks at its whole past.
#[derive(Clone, Debug)]
pub struct AttentionMask {
    hidden: Option<Tensor<4, Bool>>,
}

impl AttentionMask {
    /// Causal attention for `queries` tokens that follow `past` cached ones.
    ///
    /// `valid` tells, for each row and each of the `past + queries` keys, whether it is a token
    /// rather than padding; `None` means that there is no padding. A padded query sees at least
    /// itself, so that no softmax runs over nothing and no NaN reaches the values.
    pub fn causal(batch: usize, queries: usize, past: usize, valid: Option<&[Vec<bool>]>, device: &Device) -> Self {
        if queries == 1 && valid.is_none_or(|rows| rows.iter().flatten().all(|v| *v)) {
            return Self { hidden: None };
        }
        let keys = past + queries;
        let rows = if valid.is_some() { batch } else { 1 };
        let mut hidden = vec![false; rows * queries * keys];
        for (row, block) in hidden.chunks_mut(queries * keys).enumerate() {
            for (query, line) in block.chunks_mut(keys).enumerate() {
                let own = past + query;
                for (key, hide) in line.iter_mut().enumerate() {
                    let padding = valid.is_some_and(|rows| !rows[row].get(key).copied().unwrap_or(false));
                    *hide = key > own || (padding && key != own);
                }
            }
        }
        let data = TensorData::new(hidden, [rows, 1, queries, keys]);
        Self { hidden: Some(Tensor::from_data(data, device)) }
    }

    /// Causal attention inside a stem and inside each of its branches, which see the stem but not one
    /// another: for each row of `tokens`, the branch it belongs to. Nothing is cached.
    pub fn branched(rows: &[Vec<Branch>], tokens: Range<usize>, device: &Device) -> Self {
        let (queries, keys) = (tokens.len(), tokens.end);
        let mut hidden = Vec::with_capacity(rows.len() * queries * keys);
        for row in rows {
            for query in tokens.clone() {
                let sees = |key: usize| key <= query && (row[key] == Branch::Stem || row[key] == row[query]);
                hidden.extend((0..keys).map(|key| !sees(key)));
            }
        }
        let data = TensorData::new(hidden, [rows.len(), 1, queries, keys]);
        Self { hidden: Some(Tensor::from_data(data, device)) }
    }

    /// The mask for queries of which `groups` heads share one key head and lie below one another:
    /// `[batch or 1, 1, groups · queries, keys]`.
    pub fn grouped(&self, groups: usize) -> Option<Tensor<4, Bool>> {
        self.hidden.as_ref().map(|mask| match groups {
            1 => mask.clone(),
            _ => mask.clone().repeat_dim(2, groups),
        })
    }
}
