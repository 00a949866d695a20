//! Every attention mask is made here.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Bool, Device, Tensor, TensorData};
use safevlm_kernels::attention::Order;

use crate::positions::Positions;
use crate::sequences::Branch;

/// Which keys each query may not see: `true` means hidden, `[batch, 1, queries, keys]`.
///
/// The mask also knows where its tokens stand, so that a model whose layers do not all see alike derives
/// what it needs, once a forward pass, from the one mask it is given.
#[derive(Clone, Debug)]
pub struct AttentionMask {
    sight: Sight,
    tokens: Arc<Tokens>,
    /// On the device, once it is needed there.
    tensor: OnceLock<Tensor<4, Bool>>,
}

/// What queries see of the keys.
#[derive(Clone, Debug)]
enum Sight {
    /// All, as when one new token looks at its whole past.
    All,
    /// What stands before them, and themselves.
    Past,
    /// What a table does not hide.
    Table(Arc<Table>),
}

/// Of each query and key whether it is hidden.
#[derive(Debug)]
struct Table {
    /// 1, or one for each row of the batch.
    rows: usize,
    /// `[rows, queries, keys]`
    hidden: Vec<bool>,
}

/// The tokens that the keys of a mask belong to; its queries are the last of them.
#[derive(Debug)]
struct Tokens {
    queries: usize,
    positions: Positions,
    /// For each row the image that each token belongs to, 0 for text; none where no query is an
    /// image's.
    images: Option<Vec<Vec<u32>>>,
    device: Device,
}

impl AttentionMask {
    /// Causal attention for `queries` tokens that follow `past` cached ones.
    ///
    /// `valid` tells, for each row and each of the `past + queries` keys, whether it is a token
    /// rather than padding; `None` means that there is no padding. A padded query sees at least
    /// itself, so that no softmax runs over nothing and no NaN reaches the values.
    pub fn causal(batch: usize, queries: usize, past: usize, valid: Option<&[Vec<bool>]>, device: &Device) -> Self {
        let positions = Positions::sequential(batch, 0, past + queries);
        let tokens = Arc::new(Tokens { queries, positions, images: None, device: device.clone() });
        if queries == 1 && valid.is_none_or(|rows| rows.iter().flatten().all(|v| *v)) {
            return Self::new(Sight::All, tokens);
        }
        let Some(valid) = valid else { return Self::new(Sight::Past, tokens) };
        let table = tokens.table(batch, |row, query, key| {
            let padding = !valid[row].get(key).copied().unwrap_or(false);
            key > query || (padding && key != query)
        });
        Self::new(table, tokens)
    }

    fn new(sight: Sight, tokens: Arc<Tokens>) -> Self {
        Self { sight, tokens, tensor: OnceLock::new() }
    }

    /// Tells where the keys stand: their positions, which [`sliding`](Self::sliding) measures
    /// distances in, and for each row the image that each key belongs to (0 for text), which
    /// [`images_both_ways`](Self::images_both_ways) needs. Without it positions are counted from
    /// the first key on, and all is text.
    pub fn with_tokens(mut self, positions: Positions, images: Option<Vec<Vec<u32>>>) -> Self {
        let (queries, device) = (self.tokens.queries, self.tokens.device.clone());
        self.tokens = Arc::new(Tokens { queries, positions, images, device });
        self
    }

    /// The same mask, but the tokens of one image see one another in both directions.
    pub fn images_both_ways(&self) -> Self {
        let Some(images) = &self.tokens.images else { return self.clone() };
        if matches!(self.sight, Sight::All) {
            return self.clone();
        }
        let table = self.tokens.table(images.len(), |row, query, key| {
            let image = images[row][query];
            self.hides(row, query, key) && (image == 0 || images[row][key] != image)
        });
        Self::new(table, self.tokens.clone())
    }

    /// The same mask, but no query sees a key that stands `window` or more positions before it.
    pub fn sliding(&self, window: usize) -> Self {
        let positions = &self.tokens.positions;
        let rows: Vec<&[i32]> = positions.axis(0).chunks(positions.tokens().max(1)).collect();
        let is_far = |query: i32, key: i32| i64::from(query) - i64::from(key) >= window as i64;
        let reaches_far =
            |row: &&[i32]| row.iter().max().zip(row.iter().min()).is_some_and(|(last, first)| is_far(*last, *first));
        if !rows.iter().any(reaches_far) {
            return self.clone();
        }
        let alike = rows.iter().all(|row| *row == rows[0]);
        let far = |row: usize, query: usize, key: usize| is_far(rows[row][query], rows[row][key]);
        let own = if let Sight::Table(table) = &self.sight { table.rows } else { 1 };
        let rows_needed = if alike { own } else { rows.len() };
        let table = self.tokens.table(rows_needed, |row, query, key| {
            self.hides(row, query, key) || far(if alike { 0 } else { row }, query, key)
        });
        Self::new(table, self.tokens.clone())
    }

    /// Causal attention inside a stem and inside each of its branches, which see the stem but not one
    /// another. `rows` says of each token which part it belongs to; queries are those of `tokens`.
    pub fn branched(rows: &[Vec<Branch>], tokens: Range<usize>, device: &Device) -> Self {
        let positions = Positions::sequential(rows.len(), 0, tokens.end);
        let tokens = Arc::new(Tokens { queries: tokens.len(), positions, images: None, device: device.clone() });
        let sees = |row: &[Branch], query: usize, key: usize| row[key] == Branch::Stem || row[key] == row[query];
        let table = tokens.table(rows.len(), |row, query, key| key > query || !sees(&rows[row], query, key));
        Self::new(table, tokens)
    }

    /// Whether the key is hidden from the query; both are named by their places among the keys.
    fn hides(&self, row: usize, query: usize, key: usize) -> bool {
        match &self.sight {
            Sight::All => false,
            Sight::Past => key > query,
            Sight::Table(table) => {
                let (keys, queries) = (self.tokens.positions.tokens(), self.tokens.queries);
                let row = if table.rows == 1 { 0 } else { row };
                table.hidden[(row * queries + query + queries - keys) * keys + key]
            }
        }
    }

    /// The mask in main memory: which keys a query sees by its place, and which are hidden besides,
    /// `[batch or 1, queries, keys]`.
    pub(crate) fn on_host(&self) -> (Order, Option<&[bool]>) {
        match &self.sight {
            Sight::All => (Order::Both, None),
            Sight::Past => (Order::Causal { past: self.tokens.positions.tokens() - self.tokens.queries }, None),
            Sight::Table(table) => (Order::Both, Some(&table.hidden)),
        }
    }

    /// The mask for queries of which `groups` heads share one key head and lie below one another:
    /// `[batch or 1, 1, groups · queries, keys]`.
    pub fn grouped(&self, groups: usize) -> Option<Tensor<4, Bool>> {
        if matches!(self.sight, Sight::All) {
            return None;
        }
        let mask = self.tensor.get_or_init(|| {
            let (rows, hidden) = match &self.sight {
                Sight::Table(table) => (table.rows, table.hidden.clone()),
                _ => (1, self.tokens.hidden(1, |_, query, key| key > query)),
            };
            let shape = [rows, 1, self.tokens.queries, self.tokens.positions.tokens()];
            Tensor::from_data(TensorData::new(hidden, shape), &self.tokens.device)
        });
        Some(match groups {
            1 => mask.clone(),
            _ => mask.clone().repeat_dim(2, groups),
        })
    }
}

impl Tokens {
    /// What a table of `hidden` of each row, query and key leaves to be seen.
    fn table(&self, rows: usize, hidden: impl Fn(usize, usize, usize) -> bool) -> Sight {
        Sight::Table(Arc::new(Table { rows, hidden: self.hidden(rows, hidden) }))
    }

    /// `[rows, queries, keys]` of what `value` says of each row, query and key; a query is named by its place among
    /// the keys.
    fn hidden(&self, rows: usize, value: impl Fn(usize, usize, usize) -> bool) -> Vec<bool> {
        let keys = self.positions.tokens();
        let mut table = Vec::with_capacity(rows * self.queries * keys);
        for row in 0..rows {
            for query in keys - self.queries..keys {
                table.extend((0..keys).map(|key| value(row, query, key)));
            }
        }
        table
    }
}
