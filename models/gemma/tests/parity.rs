//! Tiny random checkpoints written by transformers, stage by stage (xtask/goldens/gemma_tiny.py).

mod support;

use burn::tensor::{Device, Tensor};
use safevlm_gemma::Gemma;
use safevlm_nn::{CausalLm, ImageTokens, KvCache, Padding, Projector, Sequences, sampler::argmax, vlm};
use safevlm_weights::TensorSource;
use serde_json::Value;
use support::*;

fn devices() -> [Device; 2] {
    [flex(), flex().autodiff()]
}

#[test]
fn the_projector_equals_the_reference() {
    for device in devices() {
        let projector = load_projector(&device);
        let stages = stages("tiny-image");
        let features = golden::<3>(&stages, "vision_features", &device);
        compare("pooled", &values(projector.pool(features.clone())), &stages.read_f32("pooled").unwrap());
        compare(
            "visual tokens",
            &values(projector.project(ImageTokens::equal(features)).states()),
            &stages.read_f32("visual_tokens").unwrap(),
        );
    }
}

#[test]
fn every_stage_equals_the_reference() {
    for device in devices() {
        for name in NAMES {
            let model = load(name, &device);
            let stages = stages(name);
            let rows = Sequences::new(ids(&stages), Some(IMAGE), 0, Padding::Right);
            let embeddings = embed(&model, &rows, visual(name, &images(name).concat(), &device), &device);
            let tokens = rows.tokens();
            let (positions, mask) = (rows.positions(0, tokens), rows.mask(0, tokens, &device));
            for (nth, state) in model.hidden_states(embeddings.clone(), &positions, &mask).into_iter().enumerate() {
                let stage = if nth == 0 { "embeddings".to_owned() } else { format!("layers.{}", nth - 1) };
                compare(&format!("{name} {stage}"), &values(state), &stages.read_f32(&stage).unwrap());
            }
            let hidden = vlm::run(&model, embeddings, &rows, 0, None, &device);
            compare(&format!("{name} norm"), &values(hidden.clone()), &stages.read_f32("norm").unwrap());
            let [batch, tokens, width] = hidden.dims();
            let logits = model.logits(hidden.reshape([batch * tokens, width]));
            compare(&format!("{name} logits"), &values(logits), &stages.read_f32("logits").unwrap());
        }
    }
}

/// The most likely token behind `rows`, never the image token. With a cache, only tokens from `start` on
/// are run.
fn next(model: &Gemma, rows: &Sequences, part: Tensor<3>, start: usize, cache: Option<&mut KvCache>) -> u32 {
    let device = part.device();
    let hidden = vlm::run(model, part, rows, start, cache, &device);
    let [_, tokens, width] = hidden.dims();
    let mut logits = values(model.logits(hidden.narrow(1, tokens - 1, 1).reshape([1, width])));
    logits[IMAGE as usize] = f32::NEG_INFINITY;
    argmax(&logits)
}

#[test]
fn greedy_tokens_equal_the_reference_with_and_without_the_cache() {
    let device = flex();
    for name in NAMES {
        let model = load(name, &device);
        let cases: Vec<Value> = serde_json::from_value(json(name, "greedy.json")).unwrap();
        for case in cases {
            let tokens = |key: &str| -> Vec<u32> { serde_json::from_value(case[key].clone()).unwrap() };
            let (prompt, expected) = (tokens("prompt"), tokens("greedy_ids"));
            let images: Vec<usize> = tokens("images").iter().map(|nth| *nth as usize).collect();
            for cached in [false, true] {
                let mut rows = Sequences::single(prompt.clone(), Some(IMAGE));
                let mut cache = model.new_cache(1, prompt.len() + expected.len(), &device);
                let mut generated = vec![];
                for nth in 0..expected.len() {
                    let token = if cached && nth > 0 {
                        let start = rows.tokens() - 1;
                        next(&model, &rows, model.embed(rows.ids(start, &device)), start, Some(&mut cache))
                    } else {
                        let whole = embed(&model, &rows, visual(name, &images, &device), &device);
                        next(&model, &rows, whole, 0, cached.then_some(&mut cache))
                    };
                    generated.push(token);
                    rows.push(&[token]);
                }
                assert_eq!(generated, expected, "{name}, cached: {cached}");
            }
        }
    }
}
