//! The gradients of one step.

use std::ops::Range;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use safevlm_family::{Family, ModelOf};
use safevlm_kernels::on_pool;
use safevlm_nn::VisionEncoder;

use crate::batch::{Batch, Example};
use crate::error::TrainError;
use crate::feed::{Answers, Feed};
use crate::ground::Grounding;
use crate::log::Sums;
use crate::loss::joint_loss;
use crate::norm::{global_norm, largest};
use crate::optimizer::{Accumulated, in_f32, read};
use crate::peers::Peers;
use crate::recipe::{Phase, Recipe, Stage};
use crate::show::{Show, scene_bar};
use crate::trainee::Trainee;

/// What every step needs.
pub(crate) struct Steps<'a, F> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) feed: Feed<'a, F>,
    pub(crate) peers: &'a Peers,
    pub(crate) device: &'a Device,
    /// The same device without autodiff.
    pub(crate) plain: &'a Device,
    pub(crate) show: Show,
}

impl<F: Trainee> Steps<'_, F> {
    /// What a phase of grounding draws from.
    pub(crate) fn ground(
        &self,
        model: &ModelOf<F>,
        phase: &Phase,
        samples: Range<usize>,
    ) -> Result<Grounding, TrainError> {
        let shown = scene_bar(phase.scenes, self.show);
        let cut = self.recipe.vision_from.filter(|_| phase.trains(self.recipe, "vision"));
        let made = Grounding::prepare(&self.feed, model, cut, samples, self.device, &mut || shown.inc(1))?;
        shown.finish_and_clear();
        Ok(made)
    }

    /// The gradients of a step's loss, over all processes. They and the loss are numbers: before a parameter could hold
    /// what others would make of it, they are an error.
    pub(crate) fn gradients(
        &self,
        model: &ModelOf<F>,
        phase: &Phase,
        step: usize,
        drawn: Range<usize>,
        grounding: Option<&Grounding>,
    ) -> Result<(GradientsParams, Sums), TrainError> {
        let Self { recipe, feed, peers, device, .. } = self;
        let (gradients, mut sums) = match grounding {
            Some(grounding) => ground_step::<F>(model, grounding, step, phase, peers, device)?,
            None => {
                let weight = &|combination| phase.weight_of(recipe, combination);
                let answers = Answers { weight, first_token: phase.first_token };
                let answers = (phase.stage == Stage::Joint).then_some(&answers);
                let mut examples = feed.examples(peers.share(drawn.clone()), answers)?;
                // Rows of like length in one forward pass leave little padding.
                examples.sort_by_key(Example::tokens);
                joint_step(model, recipe, phase, &examples, feed.family, peers, device)?
            }
        };
        let gradients = peers.sum_gradients(model, gradients, self.plain)?;
        sums.add_up(peers);
        sums.norm = global_norm(model, &gradients)?;
        let Some(value) = [sums.loss, sums.norm].into_iter().find(|value| !value.is_finite()) else {
            return Ok((gradients, sums));
        };
        let drawn = if grounding.is_some() { 0..0 } else { drawn };
        let ids: Vec<String> = drawn.filter_map(|number| Some(feed.mix.sample(number).ok()?.id)).collect();
        let (samples, gradients) = (ids.join(", "), largest(model, &gradients));
        Err(TrainError::NotFinite { step, value, samples, gradients })
    }
}

/// Gradients of the grounding loss.
fn ground_step<F: Trainee>(
    model: &ModelOf<F>,
    grounding: &Grounding,
    step: usize,
    phase: &Phase,
    peers: &Peers,
    device: &Device,
) -> Result<(GradientsParams, Sums), TrainError> {
    let drawn = peers.share(grounding.draw(step, phase.batch));
    if drawn.is_empty() {
        return Ok((GradientsParams::new(), Sums::default()));
    }
    let share = drawn.len() as f64 / phase.batch as f64;
    let loss = grounding.loss::<F>(model, &drawn, device)?.mul_scalar(share);
    let mut sums = Sums::default();
    sums.loss = read(loss.clone().detach())?;
    sums.language = Some(sums.loss);
    Ok((in_f32(on_pool(|| loss.backward()), model), sums))
}

/// Gradients of the joint loss, or of the guard's alone, accumulated over micro-batches.
pub(crate) fn joint_step<F: Family>(
    model: &ModelOf<F>,
    recipe: &Recipe,
    phase: &Phase,
    examples: &[Example],
    family: &F,
    peers: &Peers,
    device: &Device,
) -> Result<(GradientsParams, Sums), TrainError> {
    let mut sums = Sums::default();
    let mut gradients = Accumulated::new();
    let parts: Vec<&[Example]> = examples.chunks(phase.micro_batch).collect();
    let batches: Vec<Batch> = parts.iter().map(|part| Batch::new(part, family.image_token(), 0)).collect();
    // Every answer token and every label counts the same, whichever micro-batch and process it is in.
    let own_weights: f32 = batches.iter().flat_map(|batch| &batch.weights).sum();
    let own_labels: usize = batches.iter().map(|batch| batch.labels.len()).sum();
    let (all_weights, all_labels) = (peers.total(f64::from(own_weights)), peers.total(own_labels as f64));
    for (part, batch) in parts.into_iter().zip(&batches) {
        let images: Vec<_> = part.iter().flat_map(|example| &example.images).map(AsRef::as_ref).collect();
        let inputs = family.inputs(batch.sequences.clone(), &images, device)?;
        let features = inputs.pixels.map(|pixels| model.vision.encode(pixels));
        let mut losses = joint_loss(model, batch, &inputs.sequences, features, device)?;
        sums.count(losses.guard_logits.as_ref(), &batch.labelled, &batch.labels)?;
        let weights: f32 = batch.weights.iter().sum();
        for (sum, loss, share) in [
            (&mut sums.language, &mut losses.language, f64::from(weights) / all_weights),
            (&mut sums.guard, &mut losses.guard, batch.labels.len() as f64 / all_labels),
        ] {
            *loss = loss.take().map(|loss| loss.mul_scalar(share));
            if let Some(loss) = loss {
                *sum = Some(sum.unwrap_or(0.0) + read(loss.clone().detach())?);
            }
        }
        if let Some(loss) = losses.joint(recipe.safety_loss_lambda) {
            sums.loss += read(loss.clone().detach())?;
            // Answers without a picture teach a guard nothing, where it is all that learns.
            if loss.is_tracked() {
                gradients.add(on_pool(|| loss.backward()), model);
            }
        }
    }
    Ok((gradients.take(), sums))
}
