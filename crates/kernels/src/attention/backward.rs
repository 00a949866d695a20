//! The gradients of [`attention`](super::attention).
//!
//! As there, 16 queries are the lanes of vectors. What each query gave to each key is computed again, for one panel
//! of queries and all the keys that they see: nothing has to be kept from the way there but its inputs.

use rayon::prelude::*;

use super::panel::{LANES, Lanes, Panel, mix, score};
use super::{Attention, Heads, Source, WORTH_A_THREAD};
use crate::level::{Level, MulAdd, level};

/// Fewest queries of a task: each has sums of its own for all keys.
const TASK: usize = 4 * LANES;

/// The gradients of [`attention`](super::attention) by queries, keys and values.
///
/// # Shapes
///
/// - `q`, `k`, `v`: as there
/// - `grad`, that of the output, and `q_grad`: `[batch, queries, heads, head_dim]`
/// - `k_grad`, `v_grad`: `[batch, keys, kv_heads, head_dim]`
///
/// All but `grad` are overwritten.
///
/// # Panics
///
/// If `kv_heads` does not divide `heads`, or a slice is shorter or longer than the sizes say.
pub fn attention_backward(
    shape: &Attention,
    q: Heads,
    k: Heads,
    v: Heads,
    grad: &[f32],
    [q_grad, k_grad, v_grad]: [&mut [f32]; 3],
) {
    backward_at(level(), shape, [q, k, v], grad, [q_grad, k_grad, v_grad]);
}

/// One panel's queries of one head, as they lie.
struct Rows<'a> {
    queries: [&'a [f32]; LANES],
    /// Nothing where a lane has no query of its own.
    grads: [&'a [f32]; LANES],
}

/// What a task finds for the keys and values of its head, `[keys, head_dim]`.
struct Found {
    keys: Vec<f32>,
    values: Vec<f32>,
}

fn backward_at(
    level: Level,
    shape: &Attention,
    [q, k, v]: [Heads; 3],
    grad: &[f32],
    [q_grad, k_grad, v_grad]: [&mut [f32]; 3],
) {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    shape.check([q, k, v], grad.len());
    assert_eq!(q_grad.len(), grad.len(), "the queries' gradient must have one value for each of the output's");
    let of_keys = batch * keys * kv_heads * head_dim;
    assert!(k_grad.len() == of_keys && v_grad.len() == of_keys, "the gradients must be [batch, keys, kv_heads, width]");
    if grad.is_empty() || of_keys == 0 {
        return [q_grad, k_grad, v_grad].into_iter().for_each(|grad| grad.fill(0.0));
    }

    let groups = heads / kv_heads;
    let rows = queries * groups;
    let alone = batch * heads * queries * keys * head_dim < WORTH_A_THREAD || rayon::current_num_threads() == 1;
    let parts = if alone { 1 } else { (2 * rayon::current_num_threads()).div_ceil(batch * kv_heads) };
    let share = rows.div_ceil(parts).next_multiple_of(LANES).max(TASK);
    let parts = rows.div_ceil(share);
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(batch * kv_heads * parts, || Vec::with_capacity(share));
    for (i, q_grad) in q_grad.chunks_exact_mut(head_dim).enumerate() {
        let (row, query, head) = (i / heads / queries, i / heads % queries, i % heads);
        let place = query * groups + head % groups;
        tasks[(row * kv_heads + head / groups) * parts + place / share].push(q_grad);
    }
    let run = |(task, q_grad): (usize, Vec<&mut [f32]>)| {
        let (row, head) = (task / parts / kv_heads, task / parts % kv_heads);
        let first = task % parts * share;
        let query = |i: usize| {
            let (query, head) = ((first + i) / groups, head * groups + (first + i) % groups);
            let grad = &grad[((row * queries + query) * heads + head) * head_dim..][..head_dim];
            (query, &q.head(row, head)[query * q.token_stride..][..head_dim], grad)
        };
        part(level, shape, query, shape.source([k, v], row, head), q_grad)
    };
    let found: Vec<Found> = match alone {
        true => tasks.into_iter().enumerate().map(run).collect(),
        false => tasks.into_par_iter().with_max_len(1).enumerate().map(run).collect(),
    };

    for (task, found) in found.iter().enumerate() {
        let (row, head) = (task / parts / kv_heads, task / parts % kv_heads);
        for (out, found) in [(&mut *k_grad, &found.keys), (&mut *v_grad, &found.values)] {
            for (key, found) in found.chunks_exact(head_dim).enumerate() {
                let out = &mut out[((row * keys + key) * kv_heads + head) * head_dim..][..head_dim];
                match task % parts {
                    0 => out.copy_from_slice(found),
                    _ => out.iter_mut().zip(found).for_each(|(out, found)| *out += found),
                }
            }
        }
    }
}

/// The gradients of some queries of one key head; `query` gives each one's place among the tokens, its values and the
/// gradient of its output.
fn part<'a>(
    level: Level,
    shape: &Attention,
    query: impl Fn(usize) -> (usize, &'a [f32], &'a [f32]),
    source: Source,
    mut q_grad: Vec<&mut [f32]>,
) -> Found {
    let (width, count) = (shape.head_dim, q_grad.len());
    let mut found = Found { keys: vec![0.0; shape.keys * width], values: vec![0.0; shape.keys * width] };
    let nothing = vec![0.0; width];
    let (mut shares, mut slopes) = (vec![[0.0; LANES]; shape.keys], vec![[0.0; LANES]; shape.keys]);
    for (nth, q_grad) in q_grad.chunks_mut(LANES).enumerate() {
        // Lanes without a query of their own repeat the last one, of whose output nothing depends.
        let lanes: [_; LANES] = std::array::from_fn(|lane| query((nth * LANES + lane).min(count - 1)));
        let own = |lane: usize| if lane < q_grad.len() { lanes[lane].2 } else { &nothing[..] };
        let rows = Rows { queries: lanes.map(|(_, query, _)| query), grads: std::array::from_fn(own) };
        let panel = Panel::new(shape, lanes.map(|(place, query, _)| (place, query)));
        let seen = panel.sees.clone();
        let (shares, slopes) = (&mut shares[..seen.len()], &mut slopes[..seen.len()]);
        if !panel.shares(level, shape, &source, shares) {
            q_grad.iter_mut().for_each(|q_grad| q_grad.fill(0.0));
            continue;
        }
        let turned: Vec<Lanes> = (0..width).map(|at| rows.grads.map(|grad| grad[at])).collect();
        score(level, &turned, &source.values[seen.start * source.value_stride..], source.value_stride, slopes);
        slope(level, shares, slopes, shape.scale);

        let mut mixed = vec![[0.0; LANES]; width];
        mix(level, slopes, &source.keys[seen.start * source.key_stride..], source.key_stride, &mut mixed);
        for (lane, q_grad) in q_grad.iter_mut().enumerate() {
            q_grad.iter_mut().zip(&mixed).for_each(|(q_grad, mixed)| *q_grad = mixed[lane]);
        }
        let of_seen = seen.start * width..seen.end * width;
        spread(level, slopes, &rows.queries, &mut found.keys[of_seen.clone()]);
        spread(level, shares, &rows.grads, &mut found.values[of_seen]);
    }
    found
}

vectorised! {
    /// The gradients of the scores before they were scaled; `slopes` holds those of the shares before.
    fn slope<M>(shares: &[Lanes], slopes: &mut [Lanes], scale: f32) {
        let mut mean = [0.0; LANES];
        for (share, slope) in shares.iter().zip(slopes.iter()) {
            for lane in 0..LANES {
                mean[lane] = M::mul_add(share[lane], slope[lane], mean[lane]);
            }
        }
        for (share, slope) in shares.iter().zip(slopes) {
            for lane in 0..LANES {
                slope[lane] = share[lane] * (slope[lane] - mean[lane]) * scale;
            }
        }
    }
}

vectorised! {
    /// Adds the queries' rows to those of the keys, by the weights that each query has for each key.
    ///
    /// - `out`: `[keys, width]`
    fn spread<M>(weights: &[Lanes], rows: &[&[f32]; LANES], out: &mut [f32]) {
        let width = rows[0].len();
        let mut first = 0;
        if M::ROOMY {
            first = spread_tiles::<M, 6, 16>(weights, rows, out, [first, width]);
        }
        first = spread_tiles::<M, 3, 16>(weights, rows, out, [first, width]);
        first = spread_tiles::<M, 6, 4>(weights, rows, out, [first, width]);
        spread_tiles::<M, 6, 1>(weights, rows, out, [first, width]);
    }
}

/// As many channels, `WIDTH` at a time, as there are from `first` on; returns the first channel that is left.
#[inline(always)]
fn spread_tiles<M: MulAdd, const KEYS: usize, const WIDTH: usize>(
    weights: &[Lanes],
    rows: &[&[f32]; LANES],
    out: &mut [f32],
    [first, width]: [usize; 2],
) -> usize {
    let mut start = first;
    while start + WIDTH <= width {
        let mut columns = [[0.0; WIDTH]; LANES];
        for (columns, row) in columns.iter_mut().zip(rows) {
            columns.copy_from_slice(&row[start..start + WIDTH]);
        }
        let mut key = 0;
        while key + KEYS <= weights.len() {
            spread_tile::<M, KEYS, WIDTH>(&weights[key..], &columns, &mut out[key * width + start..], width);
            key += KEYS;
        }
        while key < weights.len() {
            spread_tile::<M, 1, WIDTH>(&weights[key..], &columns, &mut out[key * width + start..], width);
            key += 1;
        }
        start += WIDTH;
    }
    start
}

/// The sums of `KEYS` keys; `out` begins with the first one's, and `width` values later comes the next one's.
#[inline(always)]
fn spread_tile<M: MulAdd, const KEYS: usize, const WIDTH: usize>(
    weights: &[Lanes],
    columns: &[[f32; WIDTH]; LANES],
    out: &mut [f32],
    width: usize,
) {
    let mut sums = [[0.0; WIDTH]; KEYS];
    for (key, sums) in sums.iter_mut().enumerate() {
        sums.copy_from_slice(&out[key * width..][..WIDTH]);
    }
    let weights = &weights[..KEYS];
    for lane in 0..LANES {
        for key in 0..KEYS {
            for at in 0..WIDTH {
                sums[key][at] = M::mul_add(weights[key][lane], columns[lane][at], sums[key][at]);
            }
        }
    }
    for (key, sums) in sums.iter().enumerate() {
        out[key * width..][..WIDTH].copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests;
