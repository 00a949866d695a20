//! How far half precision may stray; shared by the tests of this crate and of the models (`#[path]`).

#![allow(dead_code, reason = "each test file uses its own part")]

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use safevlm_nn::{CausalLm, KvCache, Sequences};

pub(crate) const HALVES: [DType; 2] = [DType::F16, DType::BF16];

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

/// `module` with every parameter as `dtype`. Widened from half precision, they keep their rounded values.
pub(crate) fn cast<M: Module>(module: M, dtype: DType) -> M {
    module.map(&mut Cast(dtype))
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_into_vec::<f32>().unwrap()
}

/// The distance from 1 to the next value.
pub(crate) fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        _ => panic!("{dtype:?} is no half precision"),
    }
}

/// The root mean square of the difference, as a share of that of `reference`.
pub(crate) fn deviation(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "sizes differ");
    let square = |value: f32| f64::from(value) * f64::from(value);
    let difference: f64 = ours.iter().zip(reference).map(|(a, b)| square(a - b)).sum();
    let size: f64 = reference.iter().map(|b| square(*b)).sum();
    (difference / size.max(1e-12)).sqrt()
}

/// Compares a stage behind `layers` layers, computed in half precision, with the same weights in f32.
///
/// One rounding errs by at most half an epsilon of the value, evenly spread: by 0.3 epsilon in the root mean
/// square. A layer rounds some ten results that follow from one another (norm, projection, rotation, weights
/// of attention, mixture, projection, sum; then norm, gate, product, projection, sum). Roundings do not know of
/// one another, so that their squares add up: to one epsilon a layer, and sqrt(layers) epsilon behind several.
/// Twice that is allowed, since random weights amplify a little. transformers' own bf16 strays as far.
#[track_caller]
pub(crate) fn compare<const D: usize>(stage: &str, half: Tensor<D>, reference: Tensor<D>, dtype: DType, layers: usize) {
    assert_eq!(half.dtype(), dtype, "{stage}");
    assert_near(stage, half, reference, dtype, layers);
}

/// As [`compare`], for results that are f32 in every model.
#[track_caller]
pub(crate) fn compare_logits(stage: &str, ours: Tensor<2>, reference: Tensor<2>, dtype: DType, layers: usize) {
    assert_eq!(ours.dtype(), DType::F32, "{stage}");
    assert_near(stage, ours, reference, dtype, layers);
}

#[track_caller]
fn assert_near<const D: usize>(stage: &str, ours: Tensor<D>, reference: Tensor<D>, dtype: DType, layers: usize) {
    assert_eq!(ours.dims(), reference.dims(), "{stage}");
    let allowed = 2.0 * epsilon(dtype) * (1.0 + layers as f64).sqrt();
    let found = deviation(&values(ours), &values(reference));
    println!("{stage} in {dtype:?}: {found:.1e} of {allowed:.1e}");
    assert!(found <= allowed, "{stage} in {dtype:?} is off by {found:.1e}, {allowed:.1e} is allowed");
}

/// The hidden states of `embeddings`, run in `chunks` through a cache.
pub(crate) fn cached<L: CausalLm>(model: &L, rows: &Sequences, embeddings: Tensor<3>, chunks: &[usize]) -> Tensor<3> {
    let mut cache = model.new_cache(rows.batch(), rows.tokens(), &embeddings.device());
    let mut parts = vec![];
    for chunk in chunks {
        let start = cache.len();
        let part = embeddings.clone().narrow(1, start, *chunk);
        parts.push(forward(model, rows, part, start, Some(&mut cache)));
    }
    assert_eq!(cache.len(), rows.tokens());
    Tensor::cat(parts, 1)
}

/// The hidden states of `part`, which stands behind `start` tokens.
pub(crate) fn forward<L: CausalLm>(
    model: &L,
    rows: &Sequences,
    part: Tensor<3>,
    start: usize,
    cache: Option<&mut KvCache>,
) -> Tensor<3> {
    let end = start + part.dims()[1];
    let mask = rows.mask(start, end, &part.device());
    model.forward(part, &rows.positions(start, end), &mask, cache)
}

/// The logits of every token, `[batch · tokens, vocabulary]`.
pub(crate) fn logits<L: CausalLm>(model: &L, hidden: Tensor<3>) -> Tensor<2> {
    let [batch, tokens, width] = hidden.dims();
    model.logits(hidden.reshape([batch * tokens, width]))
}
