//! Half precision: which steps are taken in f32 all the same.
//!
//! Parameters are f32, f16 or bf16, all of one type, because Burn computes with no two types at once. What a
//! model makes itself follows them: no function here takes a type, each looks at the tensors that it meets.
//!
//! | made by a module | its type |
//! | --- | --- |
//! | embeddings, features, hidden states | the weights' |
//! | patches at a vision encoder's entry | cast from f32 to the weights' |
//! | rotary tables | computed in f32 on the host, then cast to the embeddings' type; Qwen2.5-VL's encoder keeps f32 |
//! | keys and values in the cache | that of the first ones written |
//! | attention masks | none, they are Booleans |
//! | logits of a language model and of the guard | f32 |
//!
//! Kept in f32, and rounded once at the end, where the reference (transformers, PyTorch) does so:
//!
//! - norms: squares overflow f16 from 256 on, and bf16 has too few digits for a mean;
//! - activations: PyTorch rounds their result only, and `1 + erf(x)` loses all digits of a negative `x`;
//! - what is pooled: means over patches (Gemma's projector) and over visual tokens (the guard);
//! - scores and softmax of attention: by Burn on `flex` and in its fused kernels. Where it computes
//!   attention in separate steps, as under autodiff, it stays in the weights' type.
//!
//! Everything else (products, residual sums, rotations, gates) is rounded to the weights' type after each
//! operation, as in the reference. With f32 weights nothing is cast, and nothing copied. `flex` has every
//! operation in all three types, but multiplies bf16 by way of a copy of the weight in f32.

use burn::tensor::{DType, Tensor, bf16, f16};

/// `x` in f32 where it is f16 or bf16; any other type stays as it is.
pub fn widened<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(DType::F32),
        _ => x,
    }
}

/// `f` of `x`, taken in f32 and rounded once to the type of `x`.
///
/// # Shapes
///
/// - input and output of any shape
pub fn in_f32<const D: usize>(x: Tensor<D>, f: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    f(widened(x)).cast(dtype)
}

/// `value` as a tensor of `dtype` would hold it, for factors that the reference keeps as tensors.
pub fn rounded(value: f32, dtype: DType) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}
