//! Attention over heads in main memory, with gradients.

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, module};
use safevlm_core::gradients::Input;
use safevlm_core::host::{self, HostTensor};
use safevlm_core::profile::{Work, operation};
use safevlm_kernels::attention::{self as kernels, Attention, Heads, Order};

use super::differentiable::{Name, computed};
use super::{F32, values};
use crate::mask::AttentionMask;
use crate::rope::RotaryTable;

/// Attention over heads in main memory.
///
/// # Shapes
///
/// - output `[batch, queries, heads, head_dim]`
pub(crate) fn attention(shape: &Attention<'_>, query: Heads<'_>, key: Heads<'_>, value: Heads<'_>) -> Vec<f32> {
    let Attention { batch, queries, heads, head_dim, .. } = *shape;
    let mut out = vec![0.0; batch * queries * heads * head_dim];
    operation("attention", || work(shape), || kernels::attention(shape, query, key, value, &mut out));
    out
}

fn work(shape: &Attention<'_>) -> Work {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = *shape;
    Work {
        // What is hidden counts too.
        flops: 4.0 * (batch * queries * keys * heads * head_dim) as f64,
        bytes: F32 * (2 * batch * head_dim * (queries * heads + keys * kv_heads)) as f64,
    }
}

/// Attention in which every token sees every other of its row.
///
/// # Shapes
///
/// - queries, keys, values and output `[rows, tokens, heads, head_dim]`
pub fn self_attention(qkv: [Tensor<4>; 3]) -> Tensor<4> {
    let dims = qkv[0].dims();
    let [batch, tokens, heads, head_dim] = dims;
    let device = qkv[0].device();
    if !qkv.iter().all(host::is_plain) {
        return learning_attention(qkv, None, None, None).unwrap_or_else(|qkv| {
            let [query, key, value] = qkv.map(|x| x.swap_dims(1, 2));
            module::attention(query, key, value, None, None, AttentionModuleOptions::default()).swap_dims(1, 2)
        });
    }
    let shape = Attention {
        batch,
        queries: tokens,
        keys: tokens,
        heads,
        kv_heads: heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        order: Order::Both,
        hidden: None,
    };
    let qkv = qkv.map(values);
    let [query, key, value] = qkv.each_ref().map(|x| Heads::by_token(x, tokens, heads, head_dim));
    host::tensor(attention(&shape, query, key, value), dims, &device)
}

/// Attention of tokens to those of their own row, with gradients; queries and keys are turned first. `scale` is
/// `1 / sqrt(head_dim)` if not given. Gives its inputs back where they are not at hand.
///
/// # Shapes
///
/// - queries and output `[batch, tokens, heads, head_dim]`, keys and values `[batch, tokens, kv_heads, head_dim]`
///
/// # Errors
///
/// Queries, keys and values as they were.
pub(crate) fn learning_attention(
    qkv: [Tensor<4>; 3],
    rotary: Option<&RotaryTable>,
    mask: Option<&AttentionMask>,
    scale: Option<f64>,
) -> Result<Tensor<4>, [Tensor<4>; 3]> {
    let dims = qkv[0].dims();
    let [batch, tokens, heads, head_dim] = dims;
    let [_, _, kv_heads, _] = qkv[1].dims();
    let [Some(query), Some(key), Some(value)] = qkv.each_ref().map(Input::of) else { return Err(qkv) };
    let setting = Setting { rotary: rotary.cloned(), mask: mask.cloned(), heads, kv_heads };
    let scale = scale.unwrap_or(1.0 / (head_dim as f64).sqrt()) as f32;
    let (order, hidden) = (Order::Both, None);
    let plain = Attention { batch, queries: tokens, keys: tokens, heads, kv_heads, head_dim, scale, order, hidden };
    let forward = |qkv: [&[f32]; 3]| {
        let mut out = vec![0.0; dims.iter().product()];
        setting.with_heads(plain, qkv, |shape, [query, key, value]| {
            kernels::attention(shape, query, key, value, &mut out);
        });
        out
    };
    let back = setting.clone();
    let backward = move |qkv: [&[f32]; 3], grad: HostTensor, _| {
        let mut grads = qkv.map(|x| vec![0.0; x.len()]);
        back.with_heads(plain, qkv, |shape, [query, key, value]| {
            let grads = grads.each_mut().map(|grad| &mut grad[..]);
            kernels::attention_backward(shape, query, key, value, grad.values(), grads);
        });
        if let Some(rotary) = &back.rotary {
            rotary.rotate_tokens_back(&mut grads[0], heads);
            rotary.rotate_tokens_back(&mut grads[1], kv_heads);
        }
        grads.map(Some)
    };
    let name = Name { forward: "attention", backward: "attention backward" };
    Ok(computed(name, work(&plain), [query, key, value], dims, forward, |_| [true; 3], backward))
}

/// What attention needs besides queries, keys and values.
#[derive(Clone)]
struct Setting {
    rotary: Option<RotaryTable>,
    mask: Option<AttentionMask>,
    heads: usize,
    kv_heads: usize,
}

impl Setting {
    /// Runs `run` with `plain`, to which the mask is added, and with the heads of queries, keys and values, turned.
    fn with_heads(&self, plain: Attention<'_>, qkv: [&[f32]; 3], run: impl FnOnce(&Attention<'_>, [Heads<'_>; 3])) {
        let turned = |x: &[f32], heads: usize| {
            self.rotary.as_ref().map(|rotary| {
                let mut x = x.to_vec();
                rotary.rotate_tokens(&mut x, heads);
                x
            })
        };
        let [query, key, value] = qkv;
        let turned = [turned(query, self.heads), turned(key, self.kv_heads)];
        let query = turned[0].as_deref().unwrap_or(query);
        let key = turned[1].as_deref().unwrap_or(key);
        let (order, hidden) = self.mask.as_ref().map_or((Order::Both, None), AttentionMask::on_host);
        let shape = Attention { order, hidden, ..plain };
        let heads = |x, heads| Heads::by_token(x, shape.keys, heads, shape.head_dim);
        run(&shape, [heads(query, self.heads), heads(key, self.kv_heads), heads(value, self.kv_heads)]);
    }
}
