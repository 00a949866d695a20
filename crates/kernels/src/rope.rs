//! Rotary positions in the half-split convention of Hugging Face checkpoints.

use crate::level::level;
use crate::parallel;

/// Values that a thread rotates in a nanosecond, about.
const SPEED: usize = 4;

/// Where heads lie in a slice, in values from one to the next. A head itself lies in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLayout {
    /// How many heads a token has.
    pub heads: usize,
    /// Width of a head, an even number.
    pub head_dim: usize,
    /// From a token to the next.
    pub token_stride: usize,
    /// From a head to the next.
    pub head_stride: usize,
}

impl HeadLayout {
    /// `[tokens, heads, head_dim]`
    pub fn by_token(heads: usize, head_dim: usize) -> Self {
        Self { heads, head_dim, token_stride: heads * head_dim, head_stride: head_dim }
    }

    /// `[heads, tokens, head_dim]`
    pub fn by_head(heads: usize, tokens: usize, head_dim: usize) -> Self {
        Self { heads, head_dim, token_stride: head_dim, head_stride: tokens * head_dim }
    }
}

vectorised! {
    fn rotate_at<M>(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        let (left, right) = head.split_at_mut(cos.len());
        for (((left, right), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
            let sin = *sin * sign;
            let turned = M::mul_add(-*right, sin, *left * *cos);
            *right = M::mul_add(*left, sin, *right * *cos);
            *left = turned;
        }
    }
}

/// Turns each head by the angles of its token: with `l` and `r` the halves of a head, `(l, r)` becomes
/// `(l · cos - r · sin, r · cos + l · sin)`. What lies between the heads is left alone.
///
/// # Shapes
///
/// - `x`: `tokens · heads` heads as `layout` says, `cos` and `sin`: `[tokens, head_dim / 2]`
///
/// # Panics
///
/// If the tables do not belong together, or `x` is shorter than `layout` says.
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32], layout: HeadLayout) {
    rotate(x, cos, sin, layout, 1.0);
}

/// The gradient of [`rope`]: turns the other way.
///
/// # Panics
///
/// As [`rope`].
pub fn rope_backward(grad: &mut [f32], cos: &[f32], sin: &[f32], layout: HeadLayout) {
    rotate(grad, cos, sin, layout, -1.0);
}

fn rotate(x: &mut [f32], cos: &[f32], sin: &[f32], layout: HeadLayout, sign: f32) {
    let HeadLayout { heads, head_dim, token_stride, head_stride } = layout;
    let half = head_dim / 2;
    assert!(head_dim.is_multiple_of(2), "a head must be an even number of values wide, not {head_dim}");
    assert_eq!(cos.len(), sin.len(), "the tables must be of one length");
    if cos.is_empty() || heads == 0 {
        return;
    }
    assert!(half > 0 && cos.len().is_multiple_of(half), "the tables must have {half} values a token");
    let tokens = cos.len() / half;
    let (outer, inner) = match token_stride >= head_stride {
        true => ((token_stride, tokens), (head_stride, heads)),
        false => ((head_stride, heads), (token_stride, tokens)),
    };
    let last = (outer.1 - 1) * outer.0 + (inner.1 - 1) * inner.0 + head_dim;
    assert!(x.len() >= last, "{} values are fewer than the {last} of the layout", x.len());
    let stride = if outer.1 == 1 { last } else { outer.0 };
    assert!(stride >= (inner.1 - 1) * inner.0 + head_dim, "heads must not lie across one another: {layout:?}");
    let angles = |token: usize| (&cos[token * half..][..half], &sin[token * half..][..half]);

    parallel::rows(&mut x[..last], stride, inner.1 * head_dim / SPEED, |first, x| {
        for (i, x) in x.chunks_mut(stride).enumerate() {
            for j in 0..inner.1 {
                let token = if token_stride >= head_stride { first + i } else { j };
                let (cos, sin) = angles(token);
                rotate_at(level(), &mut x[j * inner.0..][..head_dim], cos, sin, sign);
            }
        }
    });
}

#[cfg(test)]
mod tests;
