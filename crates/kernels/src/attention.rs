//! Attention with an online softmax: no matrix of scores is ever made, and keys and values are read where they lie.
//!
//! [`attention`] has two ways. Many queries are taken 16 at a time, one in each lane of a vector, so that neither
//! keys nor values have to be turned round (`panel`); with few, as in decoding, a vector holds part of one key
//! (`few`). Query heads that share a key head are treated as further queries of that head.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod backward;
mod few;
mod panel;

use std::ops::Range;

use crate::level::{Level, level};
use crate::team;
pub use backward::attention_backward;
use panel::{LANES, Panel};

/// Up to so many queries of a key head, vectors hold parts of keys.
const FEW: usize = 8;
/// Keys that are taken at once.
const BLOCK: usize = 96;
/// Most queries of one task; the keys are read once for them.
const TASK: usize = 8 * LANES;
/// Multiplications that are worth another thread: some tens of microseconds.
const WORTH_A_THREAD: usize = 1 << 18;

/// Heads in a slice, with the distances in values from one to the next. A head itself lies in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// What the heads are part of.
    pub values: &'a [f32],
    /// From a row of the batch to the next.
    pub batch_stride: usize,
    /// From a token to the next.
    pub token_stride: usize,
    /// From a head to the next.
    pub head_stride: usize,
}

impl<'a> Heads<'a> {
    /// `[batch, tokens, heads, head_dim]`
    pub fn by_token(values: &'a [f32], tokens: usize, heads: usize, head_dim: usize) -> Self {
        let width = heads * head_dim;
        Self { values, batch_stride: tokens * width, token_stride: width, head_stride: head_dim }
    }

    /// `[batch, heads, capacity, head_dim]`, as a cache has it.
    pub fn by_head(values: &'a [f32], heads: usize, capacity: usize, head_dim: usize) -> Self {
        let head_stride = capacity * head_dim;
        Self { values, batch_stride: heads * head_stride, token_stride: head_dim, head_stride }
    }

    /// All from one head's first token on.
    fn head(&self, row: usize, head: usize) -> &'a [f32] {
        &self.values[row * self.batch_stride + head * self.head_stride..]
    }

    fn fits(&self, [batch, tokens, heads, width]: [usize; 4]) -> bool {
        if [batch, tokens, heads, width].contains(&0) {
            return true;
        }
        let strides = [(batch, self.batch_stride), (tokens, self.token_stride), (heads, self.head_stride)];
        let last =
            strides.into_iter().try_fold(width, |end, (n, stride)| end.checked_add((n - 1).checked_mul(stride)?));
        last.is_some_and(|last| last <= self.values.len())
    }
}

/// Which keys a query sees by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All.
    Both,
    /// The first `past` keys and those up to its own.
    Causal {
        /// How many keys there are before the first query's own.
        past: usize,
    },
    /// As `Causal`, but no key that stands `window` or more before its own.
    Sliding {
        /// How many keys there are before the first query's own.
        past: usize,
        /// How many keys a query sees, with its own.
        window: usize,
    },
}

impl Order {
    /// The keys that query `i` sees.
    fn visible(self, i: usize, keys: usize) -> Range<usize> {
        match self {
            Order::Both => 0..keys,
            Order::Causal { past } => 0..(past + i + 1).min(keys),
            Order::Sliding { past, window } => {
                (past + i + 1).saturating_sub(window).min(keys)..(past + i + 1).min(keys)
            }
        }
    }
}

/// What is computed: sizes, the scores' factor and what is hidden.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Rows of the batch.
    pub batch: usize,
    /// Queries of a row.
    pub queries: usize,
    /// Keys of a row.
    pub keys: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor of the scores, mostly `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Which keys a query sees by its place.
    pub order: Order,
    /// Which keys are hidden besides, `[batch or 1, queries, keys]`.
    pub hidden: Option<&'a [bool]>,
}

impl<'a> Attention<'a> {
    /// Panics if the sizes do not fit each other, or the queries, keys and values, or an output of `out` values.
    fn check(&self, [q, k, v]: [Heads; 3], out: usize) {
        let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = *self;
        assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads), "{kv_heads} key heads do not divide {heads} heads");
        assert!(q.fits([batch, queries, heads, head_dim]), "the queries are fewer than {batch} x {queries} tokens");
        assert!(k.fits([batch, keys, kv_heads, head_dim]), "the keys are fewer than {batch} x {keys} tokens");
        assert!(v.fits([batch, keys, kv_heads, head_dim]), "the values are fewer than {batch} x {keys} tokens");
        assert_eq!(out, batch * queries * heads * head_dim, "the output must have one value for each of the queries'");
        let table = queries * keys;
        if let Some(hidden) = self.hidden {
            let fits = hidden.len() == table || hidden.len() == batch * table;
            assert!(fits, "the mask must be [batch or 1, queries, keys]");
        }
    }

    /// The keys and values of one head of a row.
    fn source(&self, [k, v]: [Heads<'a>; 2], row: usize, head: usize) -> Source<'a> {
        let table = self.queries * self.keys;
        Source {
            keys: k.head(row, head),
            key_stride: k.token_stride,
            values: v.head(row, head),
            value_stride: v.token_stride,
            hidden: self.hidden.map(
                |hidden| {
                    if hidden.len() == table { hidden } else { &hidden[row * table..][..table] }
                },
            ),
        }
    }
}

/// One head's keys and values, and what of them the queries see.
#[derive(Clone, Copy)]
struct Source<'a> {
    keys: &'a [f32],
    key_stride: usize,
    values: &'a [f32],
    value_stride: usize,
    /// `[queries, keys]`
    hidden: Option<&'a [bool]>,
}

impl Source<'_> {
    /// Of each of `keys` whether it is hidden from the query; `None` if none is named.
    fn hidden(&self, shape: &Attention, query: usize, keys: &Range<usize>) -> Option<&[bool]> {
        self.hidden.map(|hidden| &hidden[query * shape.keys..][keys.clone()])
    }
}

/// `softmax(scale · q · kᵀ) · v` of each head. A query that sees nothing gives zeros. What is hidden must still be
/// finite where it is a value: 0 times infinity is NaN.
///
/// # Shapes
///
/// - `q`: `queries` tokens of `heads` heads, `k` and `v`: `keys` tokens of `kv_heads` heads
/// - `out`: `[batch, queries, heads, head_dim]`
///
/// # Panics
///
/// If `kv_heads` does not divide `heads`, or a slice is shorter than the sizes say.
pub fn attention(shape: &Attention, q: Heads, k: Heads, v: Heads, out: &mut [f32]) {
    attention_at(level(), shape, q, k, v, out);
}

fn attention_at(level: Level, shape: &Attention, q: Heads, k: Heads, v: Heads, out: &mut [f32]) {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    shape.check([q, k, v], out.len());
    if out.is_empty() || keys == 0 {
        return out.fill(0.0);
    }

    let source = |row: usize, head: usize| shape.source([k, v], row, head);
    let groups = heads / kv_heads;
    let rows = queries * groups;
    if rows <= FEW {
        return few::attention(level, shape, q, source, out);
    }
    let alone = batch * heads * queries * keys * head_dim < WORTH_A_THREAD || rayon::current_num_threads() == 1;

    // The output's heads, sorted into tasks: each a key head's, for some of its queries.
    let heads_at_once = batch * kv_heads;
    let parts = if alone { 1 } else { (4 * rayon::current_num_threads()).div_ceil(heads_at_once) };
    let share = rows.div_ceil(parts).next_multiple_of(LANES).min(TASK);
    let parts = rows.div_ceil(share);
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(heads_at_once * parts, || Vec::with_capacity(share));
    for (i, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let (row, query, head) = (i / heads / queries, i / heads % queries, i % heads);
        let place = query * groups + head % groups;
        tasks[(row * kv_heads + head / groups) * parts + place / share].push(out);
    }
    let run = |(task, out): (usize, Vec<&mut [f32]>)| {
        let (row, head) = (task / parts / kv_heads, task / parts % kv_heads);
        let first = task % parts * share;
        let query = |i: usize| {
            let (query, head) = ((first + i) / groups, head * groups + (first + i) % groups);
            (query, &q.head(row, head)[query * q.token_stride..][..head_dim])
        };
        many(level, shape, query, source(row, head), out);
    };
    match alone {
        true => tasks.into_iter().enumerate().for_each(run),
        false => team::for_each(tasks.into_iter(), |task, out| run((task, out))),
    }
}

/// The outputs of many queries of one key head; `query` gives each one's place among the tokens and its head.
fn many<'a>(
    level: Level,
    shape: &Attention,
    query: impl Fn(usize) -> (usize, &'a [f32]),
    source: Source,
    mut out: Vec<&mut [f32]>,
) {
    let count = out.len();
    let panel = |first: usize| {
        // Lanes without a query of their own repeat the last one.
        let queries = std::array::from_fn(|lane| query((first + lane).min(count - 1)));
        Panel::new(shape, queries)
    };
    let mut panels: Vec<Panel> = (0..count).step_by(LANES).map(panel).collect();
    let first = panels.iter().map(|panel| panel.sees.start).min().unwrap_or(0);
    let end = panels.iter().map(|panel| panel.sees.end).max().unwrap_or(0);
    let mut scores = vec![0.0; BLOCK * LANES];
    for start in (first..end).step_by(BLOCK) {
        for panel in &mut panels {
            panel.add(level, shape, &source, start..(start + BLOCK).min(end), &mut scores);
        }
    }
    for (panel, out) in panels.iter().zip(out.chunks_mut(LANES)) {
        panel.finish(out);
    }
}

#[cfg(test)]
mod tests;
