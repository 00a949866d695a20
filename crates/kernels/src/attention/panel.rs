//! Sixteen queries at once, each in its own lane of a vector.
//!
//! A score is a key's value, the same in all lanes, times the queries' values; a sum of values likewise. So keys and
//! values are read as they lie, the softmax needs no sums across lanes, and six keys (or values) by sixteen queries
//! of sums fill the registers.

use std::ops::Range;

use super::{Attention, Source};
use crate::level::{Level, MulAdd};
use crate::math;

/// Queries of a panel.
pub(super) const LANES: usize = 16;

/// A value of each query.
pub(super) type Lanes = [f32; LANES];

/// Queries and what has been found for them so far.
pub(super) struct Panel {
    /// `[head_dim]` of lanes, times the scores' factor and `log2(e)`.
    queries: Vec<Lanes>,
    /// The sums of values, `[head_dim]` of lanes.
    mixed: Vec<Lanes>,
    max: Lanes,
    sum: Lanes,
    /// Each query's place among the tokens.
    places: [usize; LANES],
    /// The keys that each query sees by its place.
    visible: [Range<usize>; LANES],
    /// The keys that any query sees by its place.
    pub(super) sees: Range<usize>,
}

impl Panel {
    /// A panel that has seen no keys; each query has its place among the tokens and its values.
    pub(super) fn new(shape: &Attention, queries: [(usize, &[f32]); LANES]) -> Self {
        let factor = shape.scale * std::f32::consts::LOG2_E;
        let turned = (0..shape.head_dim).map(|i| queries.map(|(_, query)| query[i] * factor)).collect();
        let places = queries.map(|(place, _)| place);
        let visible = places.map(|place| shape.order.visible(place, shape.keys));
        let start = visible.iter().map(|keys| keys.start).min().unwrap_or(0);
        let end = visible.iter().map(|keys| keys.end).max().unwrap_or(0);
        Self {
            queries: turned,
            mixed: vec![[0.0; LANES]; shape.head_dim],
            max: [f32::NEG_INFINITY; LANES],
            sum: [0.0; LANES],
            places,
            visible,
            sees: start..end,
        }
    }

    /// Adds what the queries see of `keys`; `scores` has room for them.
    pub(super) fn add(
        &mut self,
        level: Level,
        shape: &Attention,
        source: &Source,
        keys: Range<usize>,
        scores: &mut [f32],
    ) {
        let keys = keys.start.max(self.sees.start)..keys.end.min(self.sees.end);
        let (scores, _) = scores[..keys.len() * LANES].as_chunks_mut::<LANES>();
        if !self.score(level, shape, source, &keys, scores) {
            return;
        }
        weigh(level, scores, &mut self.max, &mut self.sum, &mut self.mixed);
        let values = &source.values[keys.start * source.value_stride..];
        mix(level, scores, values, source.value_stride, &mut self.mixed);
    }

    /// Writes the scores of `keys`, which are among those that any query sees by its place; `-∞` is hidden. Returns
    /// whether any query sees any.
    fn score(
        &self,
        level: Level,
        shape: &Attention,
        source: &Source,
        keys: &Range<usize>,
        scores: &mut [Lanes],
    ) -> bool {
        if keys.is_empty() {
            return false;
        }
        let masked = self.hidden(shape, source, keys);
        if masked.iter().all(|masked| *masked == Masked::All) {
            return false;
        }
        score(level, &self.queries, &source.keys[keys.start * source.key_stride..], source.key_stride, scores);
        if self.visible.iter().any(|visible| visible.start > keys.start || visible.end < keys.end) {
            let bound = |key: usize| (key.max(keys.start) - keys.start).min(keys.len()) as i32;
            let from = self.visible.each_ref().map(|visible| bound(visible.start));
            let to = self.visible.each_ref().map(|visible| bound(visible.end));
            clip(level, scores, from, to);
        }
        for (lane, masked) in masked.into_iter().enumerate() {
            if masked != Masked::None {
                let hidden = source.hidden(shape, self.places[lane], keys).into_iter().flatten();
                for (scores, _) in scores.iter_mut().zip(hidden).filter(|(_, hidden)| **hidden) {
                    scores[lane] = f32::NEG_INFINITY;
                }
            }
        }
        true
    }

    /// The share that each query gives to each of the keys that any of them sees, into `shares`, which has room for
    /// them. Returns whether any query sees any.
    pub(super) fn shares(&self, level: Level, shape: &Attention, source: &Source, shares: &mut [Lanes]) -> bool {
        if !self.score(level, shape, source, &self.sees, shares) {
            return false;
        }
        let (mut max, mut sum) = (self.max, self.sum);
        weigh(level, shares, &mut max, &mut sum, &mut []);
        scale(level, shares, sum.map(|sum| if sum == 0.0 { 0.0 } else { 1.0 / sum }));
        true
    }

    /// What of `keys` the mask hides from each query.
    fn hidden(&self, shape: &Attention, source: &Source, keys: &Range<usize>) -> [Masked; LANES] {
        let mut masked = [Masked::None; LANES];
        if source.hidden.is_none() {
            return masked;
        }
        for lane in 0..LANES {
            if lane > 0 && self.places[lane] == self.places[lane - 1] {
                masked[lane] = masked[lane - 1];
            } else if let Some(hidden) = source.hidden(shape, self.places[lane], keys) {
                let any = hidden.iter().fold(false, |any, hidden| any | hidden);
                masked[lane] = match any {
                    false => Masked::None,
                    true if hidden.iter().all(|hidden| *hidden) => Masked::All,
                    true => Masked::Some,
                };
            }
        }
        masked
    }

    /// Writes each query's output.
    pub(super) fn finish(&self, out: &mut [&mut [f32]]) {
        for (lane, out) in out.iter_mut().enumerate() {
            let factor = if self.sum[lane] == 0.0 { 0.0 } else { 1.0 / self.sum[lane] };
            for (out, mixed) in out.iter_mut().zip(&self.mixed) {
                *out = mixed[lane] * factor;
            }
        }
    }
}

/// How many of some keys are hidden from a query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Masked {
    None,
    Some,
    All,
}

vectorised! {
    /// The scores of keys that lie `stride` apart.
    pub(super) fn score<M>(queries: &[Lanes], keys: &[f32], stride: usize, scores: &mut [Lanes]) {
        let mut first = 0;
        if M::ROOMY {
            first = score_tiles::<M, 6>(queries, keys, stride, scores, first);
            first = score_tiles::<M, 4>(queries, keys, stride, scores, first);
        }
        first = score_tiles::<M, 2>(queries, keys, stride, scores, first);
        score_tiles::<M, 1>(queries, keys, stride, scores, first);
    }
}

/// The scores of as many tiles of `KEYS` keys as there are from `first` on; returns the first key that is left.
#[inline(always)]
fn score_tiles<M: MulAdd, const KEYS: usize>(
    queries: &[Lanes],
    keys: &[f32],
    stride: usize,
    scores: &mut [Lanes],
    first: usize,
) -> usize {
    let mut start = first;
    while start + KEYS <= scores.len() {
        let tile: [&[f32]; KEYS] = std::array::from_fn(|i| &keys[(start + i) * stride..][..queries.len()]);
        let mut sums = [[0.0; LANES]; KEYS];
        for (d, query) in queries.iter().enumerate() {
            for i in 0..KEYS {
                // SAFETY: each key of the tile is as long as the queries are, whose place `d` is. Checks in here would
                // take more time than the sums.
                let value = unsafe { *tile[i].get_unchecked(d) };
                for lane in 0..LANES {
                    sums[i][lane] = M::mul_add(value, query[lane], sums[i][lane]);
                }
            }
        }
        scores[start..start + KEYS].copy_from_slice(&sums);
        start += KEYS;
    }
    start
}

vectorised! {
    /// Hides the scores outside of each query's `from..to`.
    fn clip<M>(scores: &mut [Lanes], from: [i32; LANES], to: [i32; LANES]) {
        for (key, scores) in scores.iter_mut().enumerate() {
            let key = key as i32;
            for lane in 0..LANES {
                let seen = (key >= from[lane]) & (key < to[lane]);
                scores[lane] = if seen { scores[lane] } else { f32::NEG_INFINITY };
            }
        }
    }
}

vectorised! {
    /// Turns scores into weights relative to the greatest score so far, and what was summed before with them.
    fn weigh<M>(scores: &mut [Lanes], max: &mut Lanes, sum: &mut Lanes, mixed: &mut [Lanes]) {
        let mut greatest = *max;
        for scores in scores.iter() {
            for lane in 0..LANES {
                greatest[lane] = if scores[lane] > greatest[lane] { scores[lane] } else { greatest[lane] };
            }
        }
        let mut base = [0.0; LANES];
        let mut factor = [0.0; LANES];
        for lane in 0..LANES {
            // A query that has seen nothing has no greatest score, and weights of 0.
            base[lane] = if greatest[lane] == f32::NEG_INFINITY { 0.0 } else { greatest[lane] };
            factor[lane] = math::exp2_negative::<M>(max[lane] - base[lane]);
        }
        if factor != [1.0; LANES] {
            for mixed in mixed {
                for lane in 0..LANES {
                    mixed[lane] *= factor[lane];
                }
            }
        }
        let mut sums = [0.0; LANES];
        for lane in 0..LANES {
            sums[lane] = sum[lane] * factor[lane];
        }
        for scores in scores {
            for lane in 0..LANES {
                scores[lane] = math::exp2_negative::<M>(scores[lane] - base[lane]);
                sums[lane] += scores[lane];
            }
        }
        *max = greatest;
        *sum = sums;
    }
}

vectorised! {
    /// Multiplies each query's values with its factor.
    fn scale<M>(values: &mut [Lanes], factors: Lanes) {
        for values in values {
            for lane in 0..LANES {
                values[lane] *= factors[lane];
            }
        }
    }
}

vectorised! {
    /// Adds the values, `stride` apart, times their weights.
    pub(super) fn mix<M>(weights: &[Lanes], values: &[f32], stride: usize, mixed: &mut [Lanes]) {
        let mut first = 0;
        if M::ROOMY {
            first = mix_tiles::<M, 6>(weights, values, stride, mixed, first);
            first = mix_tiles::<M, 4>(weights, values, stride, mixed, first);
        }
        first = mix_tiles::<M, 2>(weights, values, stride, mixed, first);
        mix_tiles::<M, 1>(weights, values, stride, mixed, first);
    }
}

/// As many tiles of `WIDTH` channels as there are from `first` on; returns the first channel that is left.
#[inline(always)]
fn mix_tiles<M: MulAdd, const WIDTH: usize>(
    weights: &[Lanes],
    values: &[f32],
    stride: usize,
    mixed: &mut [Lanes],
    first: usize,
) -> usize {
    let mut start = first;
    while start + WIDTH <= mixed.len() {
        let mut sums: [Lanes; WIDTH] = std::array::from_fn(|i| mixed[start + i]);
        for (key, weights) in weights.iter().enumerate() {
            let value = &values[key * stride + start..][..WIDTH];
            for i in 0..WIDTH {
                for lane in 0..LANES {
                    sums[i][lane] = M::mul_add(value[i], weights[lane], sums[i][lane]);
                }
            }
        }
        mixed[start..start + WIDTH].copy_from_slice(&sums);
        start += WIDTH;
    }
    start
}
