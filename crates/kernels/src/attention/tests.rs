use proptest::prelude::*;

use super::*;
use crate::testing::{assert_close, values};

/// The same in f64, one score after the other.
pub(super) fn exact(shape: &Attention, q: Heads, k: Heads, v: Heads) -> Vec<f64> {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    let mut out = Vec::new();
    for row in 0..batch {
        for query in 0..queries {
            for head in 0..heads {
                let value = |heads: Heads, token: usize, head: usize, d: usize| {
                    let place = row * heads.batch_stride + token * heads.token_stride + head * heads.head_stride + d;
                    f64::from(heads.values[place])
                };
                let kv_head = head / (heads / kv_heads);
                let seen = |key: usize| {
                    let table = shape.hidden.map(|hidden| {
                        let row = if hidden.len() == queries * keys { 0 } else { row };
                        hidden[(row * queries + query) * keys + key]
                    });
                    let by_place = match shape.order {
                        Order::Both => true,
                        Order::Causal { past } => key <= past + query,
                        Order::Sliding { past, window } => key <= past + query && key + window > past + query,
                    };
                    by_place && table != Some(true)
                };
                let score = |key: usize| {
                    let dot: f64 = (0..head_dim).map(|d| value(q, query, head, d) * value(k, key, kv_head, d)).sum();
                    dot * f64::from(shape.scale)
                };
                let scores: Vec<f64> =
                    (0..keys).map(|key| if seen(key) { score(key) } else { f64::NEG_INFINITY }).collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> =
                    scores.iter().map(|s| if *s == f64::NEG_INFINITY { 0.0 } else { (s - max).exp() }).collect();
                let sum: f64 = weights.iter().sum();
                for d in 0..head_dim {
                    let mixed: f64 = (0..keys).map(|key| weights[key] * value(v, key, kv_head, d)).sum();
                    out.push(if sum == 0.0 { 0.0 } else { mixed / sum });
                }
            }
        }
    }
    out
}

/// Sizes, an order and a mask: none, one for all rows or one for each.
fn cases() -> impl Strategy<Value = ([usize; 6], u8, u8, f32)> {
    let any = [1..3usize, 1..40, 1..230, 1..4, 1..4, 1..90];
    // As in decoding: few queries of many heads, of a width that vectors like.
    let few =
        [1..3usize, 1..4, 1..230, 1..4, 1..9, 1..4].prop_map(|[batch, queries, keys, kv_heads, groups, width]| {
            [batch, queries, keys, kv_heads, groups, 32 * width]
        });
    (prop_oneof![any, few], 0..4u8, 0..3u8, 0.01f32..3.0)
}

/// One of the orders, and no table of what is hidden, one for all rows of the batch, or one for each.
pub(super) fn sight([batch, queries, keys]: [usize; 3], order: u8, mask: u8) -> (Order, Option<Vec<bool>>) {
    let past = keys.saturating_sub(queries);
    let order = match order {
        0 => Order::Both,
        1 => Order::Causal { past },
        2 => Order::Causal { past: 0 },
        _ => Order::Sliding { past, window: 1 + keys / 3 },
    };
    let tables = [0, 1, batch][usize::from(mask)];
    let hidden = values(tables * queries * keys, 7).iter().map(|x| *x > 0.4).collect();
    (order, (tables > 0).then_some(hidden))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]
    #[test]
    fn values_are_those_of_f64(([batch, queries, keys, kv_heads, groups, head_dim], order, mask, scale) in cases()) {
        let heads = kv_heads * groups;
        let (order, hidden) = sight([batch, queries, keys], order, mask);
        let hidden = hidden.as_deref();
        let shape = Attention { batch, queries, keys, heads, kv_heads, head_dim, scale, order, hidden };

        // Queries are part of a wider buffer, the cache has room for more.
        let gap = 5;
        let width = heads * head_dim + gap;
        let q = values(batch * queries * width, 1);
        let q = Heads { values: &q, batch_stride: queries * width, token_stride: width, head_stride: head_dim };
        let capacity = keys + 3;
        let (k, v) = (values(batch * kv_heads * capacity * head_dim, 2), values(batch * kv_heads * capacity * head_dim, 3));
        let k = Heads::by_head(&k, kv_heads, capacity, head_dim);
        let v = Heads::by_head(&v, kv_heads, capacity, head_dim);
        let expected = exact(&shape, q, k, v);
        for level in Level::available() {
            let mut out = vec![f32::NAN; expected.len()];
            attention_at(level, &shape, q, k, v, &mut out);
            // Scores reach some hundred here, and an exponential sees their last digits.
            assert_close(&out, &expected, 1e-5, 1e-4, level.name());
        }
    }
}

/// One row of `queries` of one head against `keys`, all 8 wide.
fn small(queries: usize, keys: usize) -> Attention<'static> {
    let (batch, heads, kv_heads, head_dim, scale) = (1, 1, 1, 8, 0.5);
    Attention { batch, queries, keys, heads, kv_heads, head_dim, scale, order: Order::Both, hidden: None }
}

/// Enough for more than one block of keys; Miri, which is slow, does with fewer.
const KEYS: usize = if cfg!(miri) { 23 } else { 300 };

#[test]
fn what_sees_nothing_gives_zeros() {
    for queries in [1, 20] {
        let hidden = vec![true; queries * KEYS];
        let x = values(KEYS * 8, 1);
        let heads = Heads::by_token(&x, KEYS, 1, 8);
        let masked = Attention { hidden: Some(&hidden), ..small(queries, KEYS) };
        let order = Order::Sliding { past: 3 * KEYS, window: KEYS };
        for shape in [masked, Attention { order, ..small(queries, KEYS) }, small(queries, 0)] {
            for level in Level::available() {
                let mut out = vec![f32::NAN; queries * 8];
                attention_at(level, &shape, heads, heads, heads, &mut out);
                assert!(out.iter().all(|x| *x == 0.0), "{shape:?}");
            }
        }
    }
}

#[test]
fn extreme_values() {
    for queries in [1, 20] {
        let shape = small(queries, KEYS);
        let q = values(queries * 8, 1);
        let (mut k, v) = (values(KEYS * 8, 2), values(KEYS * 8, 3));
        for level in Level::available() {
            // One score far above all others takes its value alone.
            k[7 * 8..8 * 8].fill(1e30);
            let ones = vec![1.0; queries * 8];
            let mut out = vec![0.0; queries * 8];
            let run = |q: &[f32], k: &[f32], out: &mut [f32]| {
                let (q, k, v) =
                    (Heads::by_token(q, queries, 1, 8), Heads::by_head(k, 1, KEYS, 8), Heads::by_head(&v, 1, KEYS, 8));
                attention_at(level, &shape, q, k, v, out);
            };
            run(&ones, &k, &mut out);
            assert!(out.chunks(8).all(|row| row == &v[7 * 8..8 * 8]));
            // NaN is not lost, wherever it stands.
            for place in [0, KEYS / 2 * 8, KEYS * 8 - 1] {
                let mut k = values(KEYS * 8, 2);
                k[place] = f32::NAN;
                run(&q, &k, &mut out);
                assert!(out.iter().all(|x| x.is_nan()), "{place}");
            }
        }
    }
}

#[test]
fn threads_and_parts_do_not_change_much() {
    let (batch, heads, kv_heads, head_dim, keys) = (2, 6, 2, 64, 1500);
    let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (k, v) = (values(batch * kv_heads * keys * head_dim, 1), values(batch * kv_heads * keys * head_dim, 2));
    let (k, v) = (Heads::by_head(&k, kv_heads, keys, head_dim), Heads::by_head(&v, kv_heads, keys, head_dim));
    for queries in [1, 300] {
        let order = Order::Causal { past: keys - queries };
        let shape = Attention { batch, queries, keys, heads, kv_heads, head_dim, scale: 0.125, order, hidden: None };
        let q = values(batch * queries * heads * head_dim, 3);
        let q = Heads::by_token(&q, queries, heads, head_dim);
        let mut expected = vec![0.0; batch * queries * heads * head_dim];
        on(1).install(|| attention(&shape, q, k, v, &mut expected));
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        for threads in [2, 7] {
            let mut out = vec![0.0; expected.len()];
            on(threads).install(|| attention(&shape, q, k, v, &mut out));
            assert_close(&out, &expected, 1e-5, 1e-5, "threads");
        }
    }
}

#[test]
#[should_panic = "the keys are fewer"]
fn a_short_cache_is_refused() {
    let x = [0.0; 16];
    let heads = Heads::by_token(&x, 2, 1, 8);
    attention(&small(1, 3), heads, heads, heads, &mut [0.0; 8]);
}
