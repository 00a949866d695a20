//! What must hold of every model, whatever its weights (architecture.md, "How numbers are trusted").

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use safevlm::{Conversation, RgbImage};
use safevlm_family::{Family, Inputs};
use safevlm_nn::{CausalLm, Padding, VlmOutput, vlm};

use crate::{Checkpoint, assert_close, images, values};

/// Checks batching, padding, caching, chunked prefill and causality on `conversations`. `tolerance` is the share of
/// the greatest value by which sums in another order may differ.
pub fn assert_invariants<F: Family>(model: &Checkpoint<F>, conversations: &[Conversation], tolerance: f32) {
    let alone: Vec<(Inputs<F>, VlmOutput)> = conversations
        .iter()
        .map(|conversation| {
            let inputs = model.inputs(conversation);
            let output = model.forward(&inputs);
            (inputs, output)
        })
        .collect();
    let rows: Vec<Vec<u32>> = alone.iter().map(|(inputs, _)| inputs.sequences.row(0).to_vec()).collect();
    let guards: Vec<f32> = alone.iter().filter_map(|(_, output)| output.guard.clone()).flat_map(values).collect();

    // Batched is single, padded is unpadded.
    let all: Vec<&RgbImage> = conversations.iter().flat_map(images).collect();
    for padding in [Padding::Left, Padding::Right] {
        let (_, both) = model.run(rows.clone(), padding, &all);
        if let Some(guard) = both.guard.clone() {
            assert_close("guard logits of a padded batch", &values(guard), &guards, tolerance);
        }
        if padding == Padding::Left {
            let logits: Vec<f32> = alone.iter().flat_map(|(_, output)| model.last_logits(output)).collect();
            assert_close("logits of a padded batch", &model.last_logits(&both), &logits, tolerance);
        }
    }
    for ((conversation, row), (inputs, output)) in conversations.iter().zip(&rows).zip(&alone) {
        assert_chunks_are_whole(model, inputs, output, tolerance);
        assert_causal(model, row, &images(conversation), output, tolerance);
    }
}

/// Cached and chunked is whole. Images stay in one piece.
fn assert_chunks_are_whole<F: Family>(model: &Checkpoint<F>, inputs: &Inputs<F>, whole: &VlmOutput, tolerance: f32) {
    let row = inputs.sequences.row(0);
    let image = model.family.image_token();
    let is_image = |at: usize| Some(row[at]) == image;
    let outside: Vec<usize> = (1..row.len()).filter(|at| !is_image(*at) || !is_image(at - 1)).collect();
    // One token, everything up to some token behind, and the last token alone.
    let mut ends = vec![outside[0], outside[outside.len() / 2], row.len() - 1, row.len()];
    ends.sort_unstable();
    ends.dedup();
    let visual = inputs.pixels.clone().map(|pixels| model.model.visual_tokens(pixels, &model.device));
    let embeddings = model.model.embed(&inputs.sequences, visual.as_ref(), &model.device).unwrap();
    let language_model = &model.model.language_model;
    let mut cache = language_model.new_cache(1, row.len(), &model.device);
    let (mut states, mut start) = (vec![], 0);
    for end in ends {
        let part = embeddings.clone().narrow(1, start, end - start);
        let hidden = vlm::run(language_model, part, &inputs.sequences, start, Some(&mut cache), &model.device);
        states.extend(values(hidden));
        start = end;
    }
    assert_close("hidden states of a chunked prefill", &states, &values(whole.hidden.clone()), tolerance);
}

/// The verdict does not depend on what stands behind the images, and no past state on a future token.
fn assert_causal<F: Family>(
    model: &Checkpoint<F>,
    row: &[u32],
    images: &[&RgbImage],
    whole: &VlmOutput,
    tolerance: f32,
) {
    if let Some(guard) = whole.guard.clone() {
        let end = row.iter().rposition(|id| Some(*id) == model.family.image_token()).unwrap() + 1;
        let (_, cut) = model.run(vec![row[..end].to_vec()], Padding::Left, images);
        assert_close("guard logits without the question", &values(cut.guard.unwrap()), &values(guard), tolerance);
    }
    let last = row.len() - 1;
    let mut other = row.to_vec();
    other[last] = if row[last] == 7 { 8 } else { 7 };
    let (_, other) = model.run(vec![other], Padding::Left, images);
    let past = |output: &VlmOutput| values(output.hidden.clone().narrow(1, 0, last));
    assert_close("past states under another last token", &past(&other), &past(whole), tolerance);
    assert_ne!(model.last_logits(&other), model.last_logits(whole), "the last token has no effect");
}

/// On a model with autodiff whose vision encoder is frozen, the sum of logits and verdict has a gradient at every
/// parameter of its other parts and at none of the encoder.
pub fn assert_gradients_reach_what_is_trainable<F: Family>(mut model: Checkpoint<F>, conversation: &Conversation) {
    model.model.vision = model.model.vision.freeze();
    let inputs = model.inputs(conversation);
    let output = model.forward(&inputs);
    let [_, tokens, width] = output.hidden.dims();
    let logits = model.model.language_model.logits(output.hidden.reshape([tokens, width]));
    let mut loss = logits.square().mean();
    if let Some(guard) = output.guard {
        loss = loss + guard.square().mean();
    }
    let gradients = GradientsParams::from_grads(loss.backward(), &model.model);
    let mut visitor = Reached { gradients: &gradients, path: vec![] };
    model.model.visit(&mut visitor);
}

/// Panics at a parameter that is frozen and has a gradient, or learns and has none.
struct Reached<'a> {
    gradients: &'a GradientsParams,
    path: Vec<String>,
}

impl ModuleVisitor for Reached<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // The guard is frozen too, for its dropout.
        let frozen = matches!(self.path[0].as_str(), "vision" | "guard");
        let reached = self.gradients.get::<D>(param.id).is_some();
        assert_eq!(reached, !frozen, "{} has a gradient: {reached}", self.path.join("."));
    }
}
