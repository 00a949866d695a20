use proptest::prelude::*;

use super::*;
use crate::attention::Order;
use crate::attention::tests::{exact, sight};
use crate::testing::{assert_close, values};

/// Sizes, an order and a mask: none, one for all rows or one for each.
fn cases() -> impl Strategy<Value = ([usize; 6], u8, u8, f32)> {
    let sizes = [1..3usize, 1..30, 1..60, 1..3, 1..4, 1..50];
    (sizes, 0..4u8, 0..3u8, 0.01f32..1.0)
}

/// `sum(grad · attention(..))`, whose slopes the gradients are.
fn loss(shape: &Attention, [q, k, v]: [&[f32]; 3], grad: &[f32]) -> f64 {
    let Attention { queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    let of_keys = |values| Heads::by_token(values, keys, kv_heads, head_dim);
    let out = exact(shape, Heads::by_token(q, queries, heads, head_dim), of_keys(k), of_keys(v));
    out.iter().zip(grad).map(|(out, grad)| out * f64::from(*grad)).sum()
}

/// The gradients at `level`; what they are written to begins as NaN.
fn gradients(level: Level, shape: &Attention, [q, k, v]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
    let Attention { queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    let of_keys = |values| Heads::by_token(values, keys, kv_heads, head_dim);
    let heads = [Heads::by_token(q, queries, heads, head_dim), of_keys(k), of_keys(v)];
    let mut grads = [q, k, v].map(|x| vec![f32::NAN; x.len()]);
    backward_at(level, shape, heads, grad, grads.each_mut().map(|grad| &mut grad[..]));
    grads
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn gradients_are_slopes(([batch, queries, keys, kv_heads, groups, head_dim], order, mask, scale) in cases()) {
        let heads = kv_heads * groups;
        let (order, hidden) = sight([batch, queries, keys], order, mask);
        let hidden = hidden.as_deref();
        let shape = Attention { batch, queries, keys, heads, kv_heads, head_dim, scale, order, hidden };
        let q = values(batch * queries * heads * head_dim, 1);
        let (k, v) = (values(batch * keys * kv_heads * head_dim, 2), values(batch * keys * kv_heads * head_dim, 3));
        let grad = values(q.len(), 4);
        for level in Level::available() {
            let found = gradients(level, &shape, [&q, &k, &v], &grad);
            for which in 0..3 {
                let inputs = [&q, &k, &v];
                for at in [0, inputs[which].len() / 2, inputs[which].len() - 1] {
                    // A step that f32 holds exactly beside the value.
                    let moved = |step: f32| {
                        let mut inputs = inputs.map(|x| x.clone());
                        inputs[which][at] += step;
                        let value = f64::from(inputs[which][at]);
                        (value, loss(&shape, inputs.each_ref().map(|x| &x[..]), &grad))
                    };
                    let ((above, high), (below, low)) = (moved(2e-3), moved(-2e-3));
                    assert_close(&[found[which][at]], &[(high - low) / (above - below)], 1e-3, 1e-3, level.name());
                }
            }
        }
    }
}

#[test]
fn what_sees_nothing_has_no_gradient() {
    let (queries, keys) = (20, 23);
    let hidden = vec![true; queries * keys];
    let (batch, heads, kv_heads, head_dim, scale) = (1, 1, 1, 8, 0.5);
    let order = Order::Both;
    let shape = Attention { batch, queries, keys, heads, kv_heads, head_dim, scale, order, hidden: Some(&hidden) };
    let (q, k) = (values(queries * 8, 1), values(keys * 8, 2));
    for grads in gradients(level(), &shape, [&q, &k, &k], &q) {
        assert!(grads.iter().all(|x| *x == 0.0));
    }
}

#[test]
fn threads_and_parts_do_not_change_much() {
    let (batch, heads, kv_heads, head_dim, keys) = (1, 6, 2, 64, 400);
    let order = Order::Causal { past: 0 };
    let shape = Attention { batch, queries: keys, keys, heads, kv_heads, head_dim, scale: 0.125, order, hidden: None };
    let q = values(keys * heads * head_dim, 1);
    let (k, v) = (values(keys * kv_heads * head_dim, 2), values(keys * kv_heads * head_dim, 3));
    let grad = values(q.len(), 4);
    let found = gradients(level(), &shape, [&q, &k, &v], &grad);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let expected = alone.install(|| gradients(level(), &shape, [&q, &k, &v], &grad));
    for (found, expected) in found.iter().zip(expected) {
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        assert_close(found, &expected, 1e-4, 1e-4, "threads");
    }
}

#[test]
#[should_panic = "the gradients must be [batch, keys, kv_heads, width]"]
fn a_short_gradient_is_refused() {
    let x = [0.0; 16];
    let heads = Heads::by_token(&x, 2, 1, 8);
    let (batch, kv_heads, head_dim, order) = (1, 1, 8, Order::Both);
    let shape = Attention { batch, queries: 2, keys: 2, heads: 1, kv_heads, head_dim, scale: 1.0, order, hidden: None };
    backward_at(level(), &shape, [heads; 3], &x, [&mut [0.0; 16], &mut [0.0; 8], &mut [0.0; 16]]);
}
