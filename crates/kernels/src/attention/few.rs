//! A few queries for each key head, as in decoding: keys and values stream by once, a vector holds part of one.

use std::ops::Range;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::{Attention, Heads, Source};
use crate::lanes;
use crate::level::{Level, MulAdd};
use crate::math;
use crate::team;

/// Keys that are taken at once.
pub(super) const BLOCK: usize = 64;
/// Queries for which keys and values are read at once.
const TOGETHER: usize = 3;
/// Fewest keys of a task.
const TASK: usize = 64;
/// Multiplications that are worth another thread: several microseconds.
const WORTH_A_THREAD: usize = 1 << 16;

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
) {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    let heads_at_once = batch * kv_heads;
    let threads = rayon::current_num_threads();
    let alone = threads == 1 || batch * heads * queries * keys * head_dim < WORTH_A_THREAD;
    let parts = match alone {
        true => 1,
        false => (2 * threads).div_ceil(heads_at_once).min(keys.div_ceil(TASK)),
    };
    let share = keys.div_ceil(parts);
    let parts = keys.div_ceil(share);
    let groups = heads / kv_heads;
    let tasks = heads_at_once * parts;
    let found: Vec<OnceLock<Vec<Partial>>> = (0..tasks).map(|_| OnceLock::new()).collect();
    let run = |task: usize| {
        let (row, head) = (task / parts / kv_heads, task / parts % kv_heads);
        let start = task % parts * share;
        let queries: Vec<&[f32]> = (0..queries * groups)
            .map(|i| &q.head(row, head * groups + i % groups)[i / groups * q.token_stride..][..head_dim])
            .collect();
        let partials = partials(level, shape, &queries, source(row, head), start..(start + share).min(keys));
        found[task].get_or_init(|| partials);
    };
    match alone {
        true => (0..tasks).for_each(run),
        false => team::share(tasks, run),
    }

    for (i, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let (row, query, head) = (i / heads / shape.queries, i / heads % shape.queries, i % heads);
        let first = (row * kv_heads + head / groups) * parts;
        let place = query * groups + head % groups;
        join(found[first..first + parts].iter().flat_map(OnceLock::get).map(|partials| &partials[place]), out);
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

/// What `keys` give each query; those of a token come one after the other.
fn partials(level: Level, shape: &Attention, queries: &[&[f32]], source: Source, keys: Range<usize>) -> Vec<Partial> {
    let factor = shape.scale * std::f32::consts::LOG2_E;
    let scaled: Vec<Vec<f32>> = queries.iter().map(|query| query.iter().map(|x| x * factor).collect()).collect();
    let nothing = || Partial { max: f32::NEG_INFINITY, sum: 0.0, mixed: vec![0.0; shape.head_dim] };
    let mut partials: Vec<Partial> = queries.iter().map(|_| nothing()).collect();
    let groups = queries.len() / shape.queries;
    let mut scores = [[0.0; BLOCK]; TOGETHER];
    for start in keys.clone().step_by(BLOCK) {
        let tokens = scaled.chunks(groups).zip(partials.chunks_mut(groups)).enumerate();
        for (token, (queries, partials)) in tokens {
            let visible = shape.order.visible(token, shape.keys);
            let keys = start.max(visible.start)..(start + BLOCK).min(keys.end).min(visible.end);
            if keys.is_empty() {
                continue;
            }
            let hidden = source.hidden(shape, token, &keys);
            let values = (&source.values[keys.start * source.value_stride..], source.value_stride);
            let key_rows = (&source.keys[keys.start * source.key_stride..], source.key_stride);
            for (queries, partials) in queries.chunks(TOGETHER).zip(partials.chunks_mut(TOGETHER)) {
                score(level, queries, key_rows, values, keys.len(), &mut scores);
                for (scores, Partial { max, sum, mixed }) in scores.iter_mut().zip(&mut *partials) {
                    let scores = &mut scores[..keys.len()];
                    for (score, _) in scores.iter_mut().zip(hidden.into_iter().flatten()).filter(|(_, hidden)| **hidden)
                    {
                        *score = f32::NEG_INFINITY;
                    }
                    weigh(level, scores, max, sum, mixed);
                }
                mix(level, &scores, values, keys.len(), partials);
            }
        }
    }
    partials
}

/// The scores that `count` keys give up to [`TOGETHER`] queries; `next` is what will be read next.
fn score(
    level: Level,
    queries: &[Vec<f32>],
    keys: (&[f32], usize),
    next: (&[f32], usize),
    count: usize,
    scores: &mut [[f32; BLOCK]; TOGETHER],
) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 && avx2::takes(queries[0].len()) {
        let [first, second, third] = scores.each_mut();
        // SAFETY: a level is only taken after its features have been found.
        return match queries {
            [a, b, c] => unsafe { avx2::scores([a, b, c], keys, next, count, [first, second, third]) },
            // SAFETY: as above.
            [a, b] => unsafe { avx2::scores([a, b], keys, next, count, [first, second]) },
            // SAFETY: as above.
            _ => unsafe { avx2::scores([&queries[0]], keys, next, count, [first]) },
        };
    }
    let _ = next;
    let mut sums = [[0.0; LANES]; BLOCK];
    for (query, scores) in queries.iter().zip(scores) {
        dot(level, query, keys.0, keys.1, &mut sums[..count]);
        for (score, [a, b, c, d, e, f, g, h]) in scores.iter_mut().zip(&sums[..count]) {
            *score = ((*a + *e) + (*c + *g)) + ((*b + *f) + (*d + *h));
        }
    }
}

/// Adds values to what the queries have been given, by their `count` weights.
fn mix(
    level: Level,
    weights: &[[f32; BLOCK]; TOGETHER],
    values: (&[f32], usize),
    count: usize,
    partials: &mut [Partial],
) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 && avx2::takes(partials[0].mixed.len()) {
        let [first, second, third] = weights;
        // SAFETY: a level is only taken after its features have been found.
        return match partials {
            [a, b, c] => unsafe {
                avx2::mix([first, second, third], values, count, [&mut a.mixed, &mut b.mixed, &mut c.mixed])
            },
            // SAFETY: as above.
            [a, b] => unsafe { avx2::mix([first, second], values, count, [&mut a.mixed, &mut b.mixed]) },
            // SAFETY: as above.
            _ => unsafe { avx2::mix([first], values, count, [&mut partials[0].mixed]) },
        };
    }
    for (weights, partial) in weights.iter().zip(partials) {
        add(level, &weights[..count], values.0, values.1, &mut partial.mixed);
    }
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
    /// Turns scores into weights, and brings what was there before them to the same base.
    fn weigh<M>(scores: &mut [f32], max: &mut f32, sum: &mut f32, mixed: &mut [f32]) {
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
    }
}

vectorised! {
    /// Adds values, `stride` apart, by their weights.
    fn add<M>(weights: &[f32], values: &[f32], stride: usize, mixed: &mut [f32]) {
        let first = tiles::<M, 64>(weights, values, stride, mixed, 0);
        let first = tiles::<M, 8>(weights, values, stride, mixed, first);
        tiles::<M, 1>(weights, values, stride, mixed, first);
    }
}

/// As many tiles of `WIDTH` channels as there are from `first` on; returns the first channel that is left.
#[inline(always)]
fn tiles<M: MulAdd, const WIDTH: usize>(
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
