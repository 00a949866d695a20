//! The training loop.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use safevlm::{Cache, DeviceSpec};
use safevlm_family::{Family, ModelOf};
use safevlm_kernels::on_pool;
use safevlm_nn::VisionEncoder;
use serde::Serialize;

use crate::base::Base;
use crate::batch::{Batch, Example};
use crate::checkpoint::{self, Progress, State};
use crate::error::TrainError;
use crate::export::{ADAPTER, export};
use crate::feed::{Answers, Feed};
use crate::ground::Grounding;
use crate::log::{Line, Sums, open_log, progress_bar, scene_bar};
use crate::loss::joint_loss;
use crate::mix::Mix;
use crate::optimizer::{Accumulated, GroupedAdamW, global_norm, largest, learning_rate, read};
use crate::peers::Peers;
use crate::recipe::{Phase, Recipe, Stage};
use crate::sources::mix;
use crate::trainable::Trainable;
use crate::trainee::{Trainee, WithTrainee};
use crate::validation::validate;

/// What a finished run leaves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Steps of the whole run.
    pub steps: usize,
    /// Samples seen by this process.
    pub samples: usize,
    /// Seconds that this process took.
    pub seconds: f64,
    /// The folder with the trained weights, an adapter in PEFT's format.
    pub adapter: PathBuf,
}

/// Runs `recipe` on `device` from its latest checkpoint, or from the beginning, and writes the
/// trained weights to the folder `OUTPUT/adapter`.
///
/// # Errors
///
/// If the base model, the data or a checkpoint cannot be used, the output cannot be written, or
/// the loss is no number.
pub fn run(recipe: &Recipe, device: &DeviceSpec, progress: bool) -> Result<Summary, TrainError> {
    run_on(recipe, &crate::sources::open(recipe, progress)?, device, progress)
}

/// [`run`] by several processes together, each on a part of every step's samples, with the weights of one process. The
/// first writes; they must see the same files. A process that fails ends all.
///
/// # Errors
///
/// As for [`run`], where there is one process only.
pub fn run_together(
    recipe: &Recipe,
    device: &DeviceSpec,
    peers: &Peers,
    progress: bool,
) -> Result<Summary, TrainError> {
    let progress = progress && peers.leads();
    let done = crate::sources::open(recipe, progress).and_then(|data| run_with(recipe, &data, device, peers, progress));
    done.inspect_err(|error| peers.fail(error))
}

/// [`run`] on data that have been opened already.
///
/// # Errors
///
/// As for [`run`].
pub fn run_on(recipe: &Recipe, data: &Mix, device: &DeviceSpec, progress: bool) -> Result<Summary, TrainError> {
    run_with(recipe, data, device, &Peers::alone(), progress)
}

fn run_with(
    recipe: &Recipe,
    data: &Mix,
    device: &DeviceSpec,
    peers: &Peers,
    progress: bool,
) -> Result<Summary, TrainError> {
    let mut recipe = recipe.clone();
    recipe
        .count_steps(data.epoch())
        .map_err(|reason| TrainError::Recipe { path: recipe.name.clone().into(), reason })?;
    let (device, _) = device.open().map_err(safevlm::Error::from)?;
    let base = Base::find(&recipe, &Cache::open(None)?, progress)?;
    crate::trainee::with_trainee(
        &recipe.base,
        &base.config,
        Run { recipe: &recipe, base: &base, data, device, peers, progress },
    )
}

struct Run<'a> {
    recipe: &'a Recipe,
    base: &'a Base,
    data: &'a Mix,
    /// Without autodiff.
    device: Device,
    peers: &'a Peers,
    progress: bool,
}

impl WithTrainee for Run<'_> {
    type Output = Summary;

    fn run<F: Trainee>(self) -> Result<Summary, TrainError> {
        let Self { recipe, base, data, device: plain, peers, progress } = self;
        let begin = Instant::now();
        let device = plain.clone().autodiff();
        let device = if recipe.gradient_checkpointing { device.gradient_checkpointing() } else { device };
        device.seed(recipe.seed);
        let loaded = base.load::<F>(recipe, &device)?;
        let (family, ends) = (&loaded.family, base.ends()?);
        let mut model = loaded.model;
        let trainable = Trainable::find(&model, recipe.learning_rate.keys(), recipe.vision_from)?;
        let mut optimizer = GroupedAdamW::new(recipe, trainable.clone());
        let mut state = State { step: 0, recipe: recipe.clone(), progress: Progress::default() };
        if let Some((path, found)) = checkpoint::latest(&recipe.output, recipe)? {
            (model, optimizer) = checkpoint::restore(&path, model, optimizer, &plain)?;
            state = found;
        }
        let first = state.step;

        let context = F::context(&loaded.config);
        let tokens = recipe.max_tokens.map_or(context, |tokens| tokens.min(context));
        let augment = recipe.augment.as_ref();
        let feed = Feed { mix: data, family, ends: &ends, augment, seed: recipe.seed, tokens };
        let held_out = match &recipe.validation {
            Some(validation) => Some((validation, mix(&validation.data, recipe, progress)?)),
            None => None,
        };
        let held_out = held_out.as_ref().map(|(validation, mix)| (*validation, Feed { mix, augment: None, ..feed }));
        let steps = Steps { recipe, feed, peers, device: &device, plain: &plain, progress };
        let mut log = peers.leads().then(|| open_log(&recipe.output)).transpose()?;
        let bar = progress_bar(recipe.steps(), first, progress);
        let (mut step, mut samples, mut next) = (0, 0, 0);
        for phase in &recipe.phase {
            let all = next..next + phase.samples();
            next = all.end;
            let mut grounding = None;
            model = trainable.only(|set| phase.trains(recipe, set)).apply(model);
            for at in 0..phase.steps {
                step += 1;
                if step <= first || state.progress.ended {
                    continue;
                }
                samples += if phase.stage == Stage::Ground { 0 } else { phase.batch };
                if phase.stage == Stage::Ground && grounding.is_none() {
                    grounding = Some(steps.ground(&model, phase, all.clone())?);
                    samples += phase.scenes;
                }
                // Of its own for each process: other samples, other dropout.
                device.seed(recipe.seed.wrapping_add(step as u64) ^ (peers.rank() as u64) << 48);
                let share = phase.rate * learning_rate(recipe, at, phase.steps);
                let rates = recipe.learning_rate.iter().filter(|(set, _)| phase.trains(recipe, set));
                let rates = rates.map(|(set, rate)| (set.clone(), rate * share)).collect();
                let drawn = all.start + at * phase.batch..all.start + (at + 1) * phase.batch;
                let (gradients, sums) = steps.gradients(&model, phase, step, drawn, grounding.as_ref())?;
                model = optimizer.step(model, gradients, sums.norm, &rates);
                let line = sums.line(step, &phase.name, share, begin.elapsed().as_secs_f64());
                write_line(&mut log, recipe, &line)?;
                bar.set_message(line.message());
                bar.inc(1);
                if let Some((validation, feed)) = held_out.as_ref().filter(|(v, _)| step % v.every == 0) {
                    let sums = validate(&model.clone().valid(), recipe, validation, feed, phase.micro_batch, &plain)?;
                    state.progress.measured(sums.loss, validation.patience);
                    let line = sums.line(step, VALIDATION, share, begin.elapsed().as_secs_f64());
                    write_line(&mut log, recipe, &line)?;
                    bar.println(line.message());
                }
                state.step = step;
                let due = step % recipe.checkpoint_every == 0 || step == recipe.steps() || state.progress.ended;
                if due && peers.leads() {
                    checkpoint::save(&recipe.output, &model, &trainable, &optimizer, &state)?;
                }
            }
        }
        bar.finish();
        let adapter = match peers.leads() {
            true => export(recipe, &base.config, &model, &trainable, &loaded.report)?,
            false => recipe.output.join(ADAPTER),
        };
        // Nobody ends before the adapter is there.
        peers.total(0.0);
        Ok(Summary { steps: state.step, samples, seconds: begin.elapsed().as_secs_f64(), adapter })
    }
}

/// What every step needs.
struct Steps<'a, F> {
    recipe: &'a Recipe,
    feed: Feed<'a, F>,
    peers: &'a Peers,
    device: &'a Device,
    /// The same device without autodiff.
    plain: &'a Device,
    progress: bool,
}

impl<F: Trainee> Steps<'_, F> {
    /// What a phase of grounding draws from.
    fn ground(&self, model: &ModelOf<F>, phase: &Phase, samples: Range<usize>) -> Result<Grounding, TrainError> {
        let shown = scene_bar(phase.scenes, self.progress);
        let cut = self.recipe.vision_from.filter(|_| phase.trains(self.recipe, "vision"));
        let made = Grounding::prepare(&self.feed, model, cut, samples, self.device, &mut || shown.inc(1))?;
        shown.finish_and_clear();
        Ok(made)
    }

    /// The gradients of a step's loss, over all processes. They and the loss are numbers: before a parameter could hold
    /// what others would make of it, they are an error.
    fn gradients(
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

/// What a line of the log calls itself that was not learned from.
pub(crate) const VALIDATION: &str = "validation";

fn write_line(log: &mut Option<File>, recipe: &Recipe, line: &Line<'_>) -> Result<(), TrainError> {
    let Some(log) = log else { return Ok(()) };
    writeln!(log, "{}", serde_json::to_string(line).unwrap_or_default())
        .map_err(|source| TrainError::Write { path: recipe.output.clone(), source })
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
    Ok((GradientsParams::from_grads(on_pool(|| loss.backward()), model), sums))
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
