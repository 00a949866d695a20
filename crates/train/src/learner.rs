//! The training loop.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use safevlm::{Cache, DeviceSpec};
use serde::Serialize;

use crate::base::Base;
use crate::checkpoint::{self, Progress, State};
use crate::error::TrainError;
use crate::export::{ADAPTER, PHASES, export};
use crate::feed::Feed;
use crate::log::{Line, open_log};
use crate::mix::Mix;
use crate::optimizer::{GroupedAdamW, learning_rate};
use crate::peers::Peers;
use crate::recipe::{Recipe, Stage};
use crate::show::{Show, Shown};
use crate::sources::mix;
use crate::step::Steps;
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
/// trained weights to the folder `OUTPUT/adapter`. What was learned by the end of each phase before the last is in
/// `OUTPUT/phases/NAME`, for other runs to begin from.
///
/// # Errors
///
/// If the base model, the data or a checkpoint cannot be used, the output cannot be written, or
/// the loss is no number.
pub fn run(recipe: &Recipe, device: &DeviceSpec, show: Show) -> Result<Summary, TrainError> {
    run_on(recipe, &crate::sources::open(recipe, show == Show::Line)?, device, show)
}

/// [`run`] by several processes together, each on a part of every step's samples, with the weights of one process. The
/// first writes; they must see the same files. A process that fails ends all.
///
/// # Errors
///
/// As for [`run`], where there is one process only.
pub fn run_together(recipe: &Recipe, device: &DeviceSpec, peers: &Peers, show: Show) -> Result<Summary, TrainError> {
    let show = if peers.leads() { show } else { Show::Nothing };
    let done = crate::sources::open(recipe, show == Show::Line)
        .and_then(|data| run_with(recipe, &data, &peers.device(*device), peers, show));
    done.inspect_err(|error| peers.fail(error))
}

/// [`run`] on data that have been opened already.
///
/// # Errors
///
/// As for [`run`].
pub fn run_on(recipe: &Recipe, data: &Mix, device: &DeviceSpec, show: Show) -> Result<Summary, TrainError> {
    run_with(recipe, data, device, &Peers::alone(), show)
}

fn run_with(
    recipe: &Recipe,
    data: &Mix,
    device: &DeviceSpec,
    peers: &Peers,
    show: Show,
) -> Result<Summary, TrainError> {
    let mut recipe = recipe.clone();
    recipe
        .count_steps(data.epoch())
        .map_err(|reason| TrainError::Recipe { path: recipe.name.clone().into(), reason })?;
    let (device, _) = device.open().map_err(safevlm::Error::from)?;
    let base = Base::find(&recipe, &Cache::open(None)?, show == Show::Line)?;
    crate::trainee::with_trainee(
        &recipe.base,
        &base.config,
        Run { recipe: &recipe, base: &base, data, device, peers, show },
    )
}

struct Run<'a> {
    recipe: &'a Recipe,
    base: &'a Base,
    data: &'a Mix,
    /// Without autodiff.
    device: Device,
    peers: &'a Peers,
    show: Show,
}

impl WithTrainee for Run<'_> {
    type Output = Summary;

    fn run<F: Trainee>(self) -> Result<Summary, TrainError> {
        let Self { recipe, base, data, device: plain, peers, show } = self;
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
            Some(validation) => Some((validation, mix(&validation.data, recipe, show == Show::Line)?)),
            None => None,
        };
        let held_out = held_out.as_ref().map(|(validation, mix)| (*validation, Feed { mix, augment: None, ..feed }));
        let steps = Steps { recipe, feed, peers, device: &device, plain: &plain, show };
        let mut log = peers.leads().then(|| open_log(&recipe.output)).transpose()?;
        let mut shown = Shown::new(recipe.steps(), first, show);
        let (mut step, mut samples, mut next) = (0, 0, 0);
        for (number, phase) in recipe.phase.iter().enumerate() {
            let last = number + 1 == recipe.phase.len();
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
                shown.step(&line);
                if let Some((validation, feed)) = held_out.as_ref().filter(|(v, _)| step % v.every == 0) {
                    let sums = validate(&model.clone().valid(), recipe, validation, feed, phase.micro_batch, &plain)?;
                    state.progress.measured(sums.loss, validation.patience);
                    let line = sums.line(step, VALIDATION, share, begin.elapsed().as_secs_f64());
                    write_line(&mut log, recipe, &line)?;
                    shown.measured(&line);
                }
                state.step = step;
                let ends = at + 1 == phase.steps;
                if ends && !last && peers.leads() {
                    let so_far = &recipe.phase[..=number];
                    let learned = trainable.only(|set| so_far.iter().any(|phase| phase.trains(recipe, set)));
                    let to = recipe.output.join(PHASES).join(&phase.name);
                    export(&to, recipe, &base.config, &model, (&learned, &optimizer), &loaded.report)?;
                }
                let stopped = shown.stopped();
                let due = step % recipe.checkpoint_every == 0 || ends || state.progress.ended || stopped;
                if due && peers.leads() {
                    checkpoint::save(&recipe.output, &model, &trainable, &optimizer, &state)?;
                }
                if stopped {
                    return Err(TrainError::Stopped { step });
                }
            }
        }
        shown.finish();
        let adapter = recipe.output.join(ADAPTER);
        if peers.leads() {
            export(&adapter, recipe, &base.config, &model, (&trainable, &optimizer), &loaded.report)?;
        }
        // Nobody ends before the adapter is there.
        peers.total(0.0);
        Ok(Summary { steps: state.step, samples, seconds: begin.elapsed().as_secs_f64(), adapter })
    }
}

/// What a line of the log calls itself that was not learned from.
pub(crate) const VALIDATION: &str = "validation";

fn write_line(log: &mut Option<File>, recipe: &Recipe, line: &Line<'_>) -> Result<(), TrainError> {
    let Some(log) = log else { return Ok(()) };
    writeln!(log, "{}", serde_json::to_string(line).unwrap_or_default())
        .map_err(|source| TrainError::Write { path: recipe.output.clone(), source })
}
