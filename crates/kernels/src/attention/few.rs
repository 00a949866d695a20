//! A few queries for each key head, as in decoding: keys and values stream by once, a vector holds part of one.

use std::ops::Range;

use rayon::prelude::*;

use super::{Attention, Heads, Source};
use crate::lanes;
use crate::level::{Level, MulAdd};
use crate::math;

/// Keys that are taken at once.
const BLOCK: usize = 128;
/// Fewest keys of a task.
const TASK: usize = 256;

/// What some keys have given one query.
struct Partial {
    max: f32,
    sum: f32,
    mixed: Vec<f32>,
}

/// As [`attention`](super::attention), for few queries. The keys of a head are split among threads if there are more
/// threads than heads.
pub(super) fn attention<'a>(
    level: Level,
    shape: &Attention,
    q: Heads,
    source: impl Fn(usize, usize) -> Source<'a> + Sync,
    out: &mut [f32],
    alone: bool,
) {
    let Attention { batch, keys, heads, kv_heads, head_dim, .. } = *shape;
    let heads_at_once = batch * kv_heads;
    let parts = match alone {
        true => 1,
        false => (2 * rayon::current_num_threads()).div_ceil(heads_at_once).min(keys.div_ceil(TASK)),
    };
    let share = keys.div_ceil(parts);
    let parts = keys.div_ceil(share);
    let groups = heads / kv_heads;
    let run = |task: usize| {
        let (row, head) = (task / parts / kv_heads, task / parts % kv_heads);
        let start = task % parts * share;
        let queries: Vec<(usize, &[f32])> = (0..shape.queries * groups)
            .map(|i| (i / groups, &q.head(row, head * groups + i % groups)[i / groups * q.token_stride..][..head_dim]))
            .collect();
        partials(level, shape, &queries, source(row, head), start..(start + share).min(keys))
    };
    let tasks = heads_at_once * parts;
    let found: Vec<Vec<Partial>> = match alone {
        true => (0..tasks).map(run).collect(),
        false => (0..tasks).into_par_iter().with_max_len(1).map(run).collect(),
    };

    for (i, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let (row, query, head) = (i / heads / shape.queries, i / heads % shape.queries, i % heads);
        let first = (row * kv_heads + head / groups) * parts;
        let place = query * groups + head % groups;
        join(found[first..first + parts].iter().map(|partials| &partials[place]), out);
    }
}

/// The output of a query from what it has been given by the parts of its keys.
fn join<'a>(partials: impl Iterator<Item = &'a Partial> + Clone, out: &mut [f32]) {
    let max = partials.clone().map(|partial| partial.max).fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    out.fill(0.0);
    for partial in partials {
        // A part of which nothing was seen has weight 0, unless it has met NaN.
        let factor = match partial.max == f32::NEG_INFINITY {
            true => f32::from(partial.sum.is_nan()),
            false => (partial.max - max).exp2(),
        };
        sum += partial.sum * factor;
        for (out, mixed) in out.iter_mut().zip(&partial.mixed) {
            *out += mixed * factor;
        }
    }
    let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
    out.iter_mut().for_each(|out| *out *= factor);
}

/// What `keys` give each query, which comes with its place among the tokens.
fn partials(
    level: Level,
    shape: &Attention,
    queries: &[(usize, &[f32])],
    source: Source,
    keys: Range<usize>,
) -> Vec<Partial> {
    let scaled = |query: &[f32]| query.iter().map(|x| x * shape.scale * std::f32::consts::LOG2_E).collect();
    let scaled: Vec<Vec<f32>> = queries.iter().map(|(_, query)| scaled(query)).collect();
    let nothing = || Partial { max: f32::NEG_INFINITY, sum: 0.0, mixed: vec![0.0; shape.head_dim] };
    let mut partials: Vec<Partial> = queries.iter().map(|_| nothing()).collect();
    let (mut sums, mut scores) = ([[0.0; LANES]; BLOCK], [0.0; BLOCK]);
    for start in keys.clone().step_by(BLOCK) {
        for (((place, _), query), partial) in queries.iter().zip(&scaled).zip(&mut partials) {
            let visible = shape.order.visible(*place, shape.keys);
            let keys = start.max(visible.start)..(start + BLOCK).min(keys.end).min(visible.end);
            if keys.is_empty() {
                continue;
            }
            let scores = &mut scores[..keys.len()];
            let sums = &mut sums[..keys.len()];
            dot(level, query, &source.keys[keys.start * source.key_stride..], source.key_stride, sums);
            for (score, [a, b, c, d, e, f, g, h]) in scores.iter_mut().zip(sums) {
                *score = ((*a + *e) + (*c + *g)) + ((*b + *f) + (*d + *h));
            }
            let hidden = source.hidden(shape, *place, &keys).into_iter().flatten();
            for (score, _) in scores.iter_mut().zip(hidden).filter(|(_, hidden)| **hidden) {
                *score = f32::NEG_INFINITY;
            }
            let values = &source.values[keys.start * source.value_stride..];
            let Partial { max, sum, mixed } = partial;
            add(level, scores, values, source.value_stride, max, sum, mixed);
        }
    }
    partials
}

/// What is summed beside one another before it becomes one score.
const LANES: usize = 8;

vectorised! {
    /// The scores of keys that lie `stride` apart, each still in [`LANES`] sums.
    fn dot<M>(query: &[f32], keys: &[f32], stride: usize, scores: &mut [[f32; LANES]]) {
        let (whole, rest) = query.as_chunks::<LANES>();
        for (i, score) in scores.iter_mut().enumerate() {
            let (key, key_rest) = keys[i * stride..][..query.len()].as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for (query, key) in whole.iter().zip(key) {
                for lane in 0..LANES {
                    sums[lane] = M::mul_add(query[lane], key[lane], sums[lane]);
                }
            }
            *score = sums;
            for ((sum, query), key) in score.iter_mut().zip(rest).zip(key_rest) {
                *sum = M::mul_add(*query, *key, *sum);
            }
        }
    }
}

vectorised! {
    /// Adds values, `stride` apart, by the weights that their scores give them.
    fn add<M>(scores: &mut [f32], values: &[f32], stride: usize, max: &mut f32, sum: &mut f32, mixed: &mut [f32]) {
        let greatest = lanes::max(scores);
        let greatest = if greatest > *max { greatest } else { *max };
        let base = if greatest == f32::NEG_INFINITY { 0.0 } else { greatest };
        let factor = math::exp2_negative::<M>(*max - base);
        *max = greatest;
        for score in scores.iter_mut() {
            *score = math::exp2_negative::<M>(*score - base);
        }
        *sum = M::mul_add(*sum, factor, lanes::fold(scores, 0.0, |a, b| a + b, |a, b| a + b));
        for mixed in mixed.iter_mut() {
            *mixed *= factor;
        }
        let first = mix::<M, 64>(scores, values, stride, mixed, 0);
        let first = mix::<M, 8>(scores, values, stride, mixed, first);
        mix::<M, 1>(scores, values, stride, mixed, first);
    }
}

/// As many tiles of `WIDTH` channels as there are from `first` on; returns the first channel that is left.
#[inline(always)]
fn mix<M: MulAdd, const WIDTH: usize>(
    weights: &[f32],
    values: &[f32],
    stride: usize,
    mixed: &mut [f32],
    first: usize,
) -> usize {
    let mut start = first;
    while start + WIDTH <= mixed.len() {
        let mut sums: [f32; WIDTH] = std::array::from_fn(|i| mixed[start + i]);
        for (key, weight) in weights.iter().enumerate() {
            let value = &values[key * stride + start..][..WIDTH];
            for i in 0..WIDTH {
                sums[i] = M::mul_add(*weight, value[i], sums[i]);
            }
        }
        mixed[start..start + WIDTH].copy_from_slice(&sums);
        start += WIDTH;
    }
    start
}
