//! What must hold whatever the weights are.

mod support;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use safevlm_nn::{CausalLm, ImageTokens, LoraAdapterConfig, Padding, Projector, Sequences, vlm};
use safevlm_weights::TensorSource;
use support::*;

/// Logits of the tokens that are not padding, row after row.
fn valid(logits: Tensor<3>, lengths: [usize; 2], padding: Padding) -> Vec<f32> {
    let [_, tokens, _] = logits.dims();
    let rows = lengths.iter().enumerate().flat_map(|(row, length)| {
        let start = if padding == Padding::Left { tokens - length } else { 0 };
        values(logits.clone().narrow(0, row, 1).narrow(1, start, *length))
    });
    rows.collect()
}

#[test]
fn padding_and_batches_change_nothing() {
    let device = flex();
    for name in NAMES {
        let model = load(name, &device);
        let [long, short] = <[Vec<u32>; 2]>::try_from(ids(&stages(name))).unwrap();
        let rows = [long, short[4..].to_vec()];
        let images = images(name);
        let alone = [0, 1].map(|nth| {
            let row = Sequences::single(rows[nth].clone(), Some(IMAGE));
            values(logits(&model, &row, visual(name, &images[nth], &device), &device))
        });
        let reference = stages(name).read_f32("padded.logits").unwrap();
        compare(&format!("{name} the reference's padding"), &alone[1], &reference);
        for padding in [Padding::Left, Padding::Right] {
            let both = Sequences::new(rows.to_vec(), Some(IMAGE), 0, padding);
            let both = logits(&model, &both, visual(name, &images.concat(), &device), &device);
            let both = valid(both, [rows[0].len(), rows[1].len()], padding);
            compare(&format!("{name} {padding:?} padding"), &both, &alone.concat());
        }
    }
}

#[test]
fn a_prefill_in_chunks_equals_the_whole() {
    let device = flex();
    // An image must not be cut: its tokens see one another.
    for (name, chunks) in [("tiny-text", vec![5, 1, 11, 7]), ("tiny-image", vec![3, 9, 1, 12, 1, 4])] {
        let model = load(name, &device);
        let rows = Sequences::single(ids(&stages(name)).swap_remove(0), Some(IMAGE));
        assert_eq!(chunks.iter().sum::<usize>(), rows.tokens());
        let embeddings = embed(&model, &rows, visual(name, &images(name)[0], &device), &device);
        let whole = vlm::run(&model, embeddings.clone(), &rows, 0, None, &device);
        let mut cache = model.new_cache(1, rows.tokens(), &device);
        let mut start = 0;
        let parts = chunks.into_iter().map(|chunk| {
            let part = embeddings.clone().narrow(1, start, chunk);
            let hidden = vlm::run(&model, part, &rows, start, Some(&mut cache), &device);
            start += chunk;
            hidden
        });
        let parts = Tensor::cat(parts.collect(), 1);
        compare(&format!("{name} chunked prefill"), &values(parts), &values(whole));
    }
}

#[test]
fn a_future_token_never_changes_a_past_logit() {
    let device = flex();
    for name in NAMES {
        let model = load(name, &device);
        let row = ids(&stages(name)).swap_remove(0);
        let at = row.len() - 3;
        let visual = visual(name, &images(name)[0], &device);
        let of = |row: &[u32]| {
            values(logits(&model, &Sequences::single(row.to_vec(), Some(IMAGE)), visual.clone(), &device))
        };
        let mut changed = row.clone();
        changed[at] = (row[at] + 1) % IMAGE;
        let (a, b) = (of(&row), of(&changed));
        assert_eq!(a[..at * VOCABULARY], b[..at * VOCABULARY], "{name}: a past logit changed");
        assert_ne!(a[at * VOCABULARY..], b[at * VOCABULARY..], "{name}: the changed token has no effect");
    }
}

#[test]
fn an_image_changes_its_own_tokens_and_the_future_only() {
    let device = flex();
    let model = load("tiny-image", &device);
    let row = ids(&stages("tiny-image")).swap_remove(0);
    let rows = Sequences::single(row, Some(IMAGE));
    let visual = visual("tiny-image", &[0, 1], &device).unwrap();
    let changed_token = |image: usize| {
        let more = Tensor::<3>::ones([1, 1, 32], &device);
        let last = TOKENS - 1;
        let token = visual.clone().narrow(0, image, 1).narrow(1, last, 1) + more;
        visual.clone().slice_assign([image..image + 1, last..last + 1, 0..32], token)
    };
    let before = values(logits(&model, &rows, Some(visual.clone()), &device));
    for (image, start) in rows.visual_tokens().into_iter().step_by(TOKENS).enumerate() {
        let after = values(logits(&model, &rows, Some(changed_token(image)), &device));
        let past = start * VOCABULARY;
        assert_eq!(before[..past], after[..past], "image {image} changed what stands before it");
        let logits = before[past..].chunks(VOCABULARY).zip(after[past..].chunks(VOCABULARY));
        for (nth, (before, after)) in logits.take(TOKENS).enumerate() {
            assert_ne!(before, after, "token {nth} of image {image} does not see its last");
        }
    }
}

#[test]
fn gradients_reach_every_parameter() {
    let device = flex().autodiff();
    for name in NAMES {
        let model = load(name, &device);
        let rows = Sequences::single(ids(&stages(name)).swap_remove(0), Some(IMAGE));
        let logits = logits(&model, &rows, visual(name, &images(name)[0], &device), &device);
        let target = (0..rows.tokens() * VOCABULARY).map(|n| (n % 7) as f32).collect::<Vec<_>>();
        let target = Tensor::<3>::from_data(TensorData::new(target, logits.dims()), &device);
        let gradients = GradientsParams::from_grads((logits - target).square().sum().backward(), &model);
        assert_eq!(gradients.len(), tensors(&model), "{name}: a parameter has no gradient");
    }
    let projector = load_projector(&device);
    let features = ImageTokens::equal(golden::<3>(&stages("tiny-image"), "vision_features", &device));
    let gradients =
        GradientsParams::from_grads(projector.project(features).states().square().sum().backward(), &projector);
    assert_eq!(gradients.len(), tensors(&projector));
}

#[test]
fn fresh_adapters_change_nothing_and_are_all_that_learns() {
    let device = flex().autodiff();
    let model = load("tiny-text", &device);
    let rows = Sequences::single(ids(&stages("tiny-text")).swap_remove(0), None);
    let before = values(logits(&model, &rows, None, &device));
    let all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(str::to_owned);
    let parameters = tensors(&model);
    let adapted = model.no_grad().attach_lora(&all, &LoraAdapterConfig::new(4, 8.0));
    assert_eq!(tensors(&adapted), parameters + 2 * 7 * adapted.layers.len());
    let after = logits(&adapted, &rows, None, &device);
    assert_eq!(values(after.clone()), before);
    let gradients = GradientsParams::from_grads(after.square().sum().backward(), &adapted);
    assert_eq!(gradients.len(), 2 * 7 * adapted.layers.len());
}

fn tensors(module: &impl Module) -> usize {
    safevlm_weights::collect_module(module).unwrap().names().len()
}
