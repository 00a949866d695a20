//! The tiny checkpoints in f16 and bf16, against the same weights in f32 and transformers' bf16
//! (xtask/goldens/half.py).

#[path = "../../../crates/nn/tests/support/half.rs"]
mod half;
mod support;

use burn::tensor::{DType, Device, Tensor};
use safevlm_gemma::Gemma;
use safevlm_nn::{CausalLm, Padding, Projector, Sequences};
use safevlm_weights::{FloatDtype, SafetensorsDir};
use support::{IMAGE, NAMES, embed, flex, golden, goldens, ids, images, load_as, load_projector, stages, visual};

const HALVES: [FloatDtype; 2] = [FloatDtype::F16, FloatDtype::BF16];

/// The golden rows with the images' tokens, which the projector has made in the model's type.
fn embeddings(model: &Gemma, name: &str, dtype: DType, device: &Device) -> (Sequences, Tensor<3>) {
    let rows = Sequences::new(ids(&stages(name)), Some(IMAGE), 0, Padding::Right);
    let visual = visual(name, &images(name).concat(), device).map(|visual| visual.cast(dtype));
    let embeddings = embed(model, &rows, visual, device);
    (rows, embeddings)
}

fn states(model: &Gemma, rows: &Sequences, embeddings: Tensor<3>) -> Vec<Tensor<3>> {
    let (tokens, device) = (rows.tokens(), embeddings.device());
    model.hidden_states(embeddings, &rows.positions(0, tokens), &rows.mask(0, tokens, &device))
}

#[test]
fn every_stage_follows_f32() {
    for device in [flex(), flex().autodiff()] {
        for name in NAMES {
            for dtype in HALVES {
                let model = load_as(name, dtype, &device);
                let dtype = dtype.burn();
                let (rows, embeddings) = embeddings(&model, name, dtype, &device);
                let single = half::cast(model.clone(), DType::F32);
                // From the same embeddings, whose rounded factor is a choice and no error.
                let widened = embeddings.clone().cast(DType::F32);
                let layers = model.layers.len();
                let pairs = states(&model, &rows, embeddings.clone()).into_iter();
                for (nth, (ours, reference)) in pairs.zip(states(&single, &rows, widened.clone())).enumerate() {
                    half::compare(&format!("{name} state {nth}"), ours, reference, dtype, nth);
                }
                let ours = half::forward(&model, &rows, embeddings, 0, None);
                let reference = half::forward(&single, &rows, widened, 0, None);
                half::compare(&format!("{name} norm"), ours.clone(), reference.clone(), dtype, layers + 1);
                let (ours, reference) = (half::logits(&model, ours), half::logits(&single, reference));
                half::compare_logits(&format!("{name} logits"), ours, reference, dtype, layers + 1);
            }
        }
    }
}

#[test]
fn the_projector_follows_f32() {
    let projector = load_projector(&flex());
    for dtype in half::HALVES {
        let features = golden::<3>(&stages("tiny-image"), "vision_features", &flex()).cast(dtype);
        let ours = half::cast(projector.clone(), dtype);
        let single = half::cast(ours.clone(), DType::F32);
        let reference = single.project(features.clone().cast(DType::F32));
        half::compare("visual tokens", ours.project(features), reference, dtype, 0);
    }
}

#[test]
fn the_cache_changes_nothing() {
    for (name, chunks) in [(NAMES[0], &[5, 1, 11, 1, 1, 5][..]), (NAMES[1], &[29, 1])] {
        for dtype in HALVES {
            let model = load_as(name, dtype, &flex());
            let (rows, embeddings) = embeddings(&model, name, dtype.burn(), &flex());
            let whole = half::forward(&model, &rows, embeddings.clone(), 0, None);
            let in_chunks = half::cached(&model, &rows, embeddings, chunks);
            half::compare(&format!("{name}, cached"), in_chunks, whole, dtype.burn(), 0);
        }
    }
}

#[test]
fn every_stage_follows_the_references_bf16() {
    let (name, device) = (NAMES[0], flex());
    let model = load_as(name, FloatDtype::BF16, &device);
    let (rows, embeddings) = embeddings(&model, name, DType::BF16, &device);
    let half = SafetensorsDir::open(&goldens(name).join("half.safetensors")).unwrap();
    let stage = |stage: &str| golden::<3>(&half, stage, &device);
    let states = states(&model, &rows, embeddings.clone());
    // The root of the width is rounded too, or some of these would differ by one place.
    assert_eq!(half::values(states[0].clone()), half::values(stage("embeddings")));
    for (nth, state) in states.into_iter().enumerate().skip(1) {
        let name = format!("layers.{}", nth - 1);
        half::compare(&name, state, stage(&name), DType::BF16, nth);
    }
    let hidden = half::forward(&model, &rows, embeddings, 0, None);
    half::compare("norm", hidden.clone(), stage("norm"), DType::BF16, 8);
    let reference = stage("logits").flatten::<2>(0, 1);
    half::compare_logits("logits", half::logits(&model, hidden), reference, DType::BF16, 8);
}
