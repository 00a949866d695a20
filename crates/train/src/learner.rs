//! The training loop.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use safevlm::{Cache, DeviceSpec, registry};
use safevlm_data::{PictureSets, Split};
use safevlm_family::{Family, LoadOptions, Loaded, read_json};
use safevlm_kernels::on_pool;
use safevlm_nn::{CausalLm, VisionEncoder};
use safevlm_safe_smol::{Processor, SafeSmol};
use serde::Serialize;

use crate::batch::{Batch, Example};
use crate::checkpoint::{self, State};
use crate::error::TrainError;
use crate::export::export;
use crate::feed::{Answers, Feed, Scenes};
use crate::ground::Grounding;
use crate::log::{Sums, open_log, progress_bar, scene_bar};
use crate::loss::joint_loss;
use crate::optimizer::{Accumulated, GroupedAdamW, learning_rate, read};
use crate::recipe::{LoraRecipe, Phase, Recipe, Stage};
use crate::trainable::Trainable;

/// What a finished run leaves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Steps of the whole run.
    pub steps: usize,
    /// Scenes seen by this process.
    pub scenes: usize,
    /// Seconds that this process took.
    pub seconds: f64,
    /// The trained weights.
    pub weights: PathBuf,
}

/// Runs `recipe` on `device` from its latest checkpoint, or from the beginning, and writes the
/// trained weights to `OUTPUT/trained.safetensors`.
///
/// # Errors
///
/// If the base model, the pictures or a checkpoint cannot be used, the output cannot be written, or
/// the loss is no number.
pub fn run(recipe: &Recipe, device: &DeviceSpec, progress: bool) -> Result<Summary, TrainError> {
    let sets = PictureSets::load(&Cache::open(None)?, Split::Train, progress)?;
    run_on(recipe, &sets, device, progress)
}

/// [`run`] on other scenes.
///
/// # Errors
///
/// As for [`run`].
pub fn run_on(recipe: &Recipe, sets: &dyn Scenes, device: &DeviceSpec, progress: bool) -> Result<Summary, TrainError> {
    let begin = Instant::now();
    let (plain, _) = device.open().map_err(safevlm::Error::from)?;
    let device = plain.clone().autodiff();
    device.seed(recipe.seed);
    let cache = Cache::open(None)?;
    let Loaded { mut model, config, family: processor, .. } = load_base(&recipe.base, &cache, &device, progress)?;
    if recipe.learning_rate.contains_key("lora") {
        let LoraRecipe { rank, alpha, targets } = &recipe.lora;
        model.language_model = model.language_model.attach_lora(targets, *rank, *alpha);
    }
    let trainable = Trainable::find(&model, recipe.learning_rate.keys(), recipe.vision_from)?;
    let mut optimizer = GroupedAdamW::new(recipe, trainable.clone());
    let mut first = 0;
    if let Some((path, state)) = checkpoint::latest(&recipe.output, recipe)? {
        (model, optimizer) = checkpoint::restore(&path, model, optimizer, &plain)?;
        first = state.step;
    }

    let feed = Feed { sets, processor: &processor, config: &config, seed: recipe.seed };
    let mut log = open_log(&recipe.output)?;
    let bar = progress_bar(recipe.steps(), first, progress);
    let (mut step, mut scenes, mut scene) = (0, 0, 0);
    for phase in &recipe.phase {
        let first_scene = scene;
        scene += match phase.stage {
            Stage::Ground => phase.scenes,
            Stage::Guard | Stage::Joint => phase.steps * phase.batch,
        };
        let mut grounding = None;
        model = trainable.only(|set| phase.trains(recipe, set)).apply(model);
        for at in 0..phase.steps {
            step += 1;
            if step <= first {
                continue;
            }
            device.seed(recipe.seed.wrapping_add(step as u64));
            let share = phase.rate * learning_rate(recipe, at, phase.steps);
            let rates = recipe.learning_rate.iter().filter(|(set, _)| phase.trains(recipe, set));
            let rates = rates.map(|(set, rate)| (set.clone(), rate * share)).collect();
            let (gradients, mut sums) = match phase.stage {
                Stage::Ground => {
                    if grounding.is_none() {
                        let cached = first_scene..scene;
                        let shown = scene_bar(phase.scenes, progress);
                        let cut = recipe.vision_from.filter(|_| phase.trains(recipe, "vision"));
                        let on_scene = &mut || shown.inc(1);
                        grounding = Some(Grounding::prepare(&feed, &model, cut, cached, &device, on_scene)?);
                        shown.finish_and_clear();
                        scenes += phase.scenes;
                    }
                    ground_step(&model, recipe, grounding.as_ref(), step, phase, &device)?
                }
                Stage::Guard | Stage::Joint => {
                    let begin = first_scene + at * phase.batch;
                    let weight = &|combination| phase.weight_of(recipe, combination);
                    let answers = Answers { weight, first_token: phase.first_token };
                    let answers = (phase.stage == Stage::Joint).then_some(&answers);
                    let mut examples = feed.examples(begin..begin + phase.batch, answers)?;
                    scenes += examples.len();
                    // Rows of like length in one forward pass leave little padding.
                    examples.sort_by_key(Example::tokens);
                    joint_step(&model, recipe, phase, &examples, &processor, &device)?
                }
            };
            if !sums.loss.is_finite() {
                return Err(TrainError::NotFinite { step, value: sums.loss as f32 });
            }
            (model, sums.norm) = optimizer.step(model, gradients, &rates)?;
            // Before a checkpoint can hold what such a gradient made of the parameters.
            if !sums.norm.is_finite() {
                return Err(TrainError::NotFinite { step, value: sums.norm as f32 });
            }
            let line = sums.line(step, &phase.name, share, begin.elapsed().as_secs_f64());
            writeln!(log, "{}", serde_json::to_string(&line).unwrap_or_default())
                .map_err(|source| TrainError::Write { path: recipe.output.clone(), source })?;
            bar.set_message(line.message());
            bar.inc(1);
            if step % recipe.checkpoint_every == 0 || step == recipe.steps() {
                let state = State { step, recipe: recipe.clone() };
                checkpoint::save(&recipe.output, &model, &trainable, &optimizer, &state)?;
            }
        }
    }
    bar.finish();
    let weights = recipe.output.join("trained.safetensors");
    export(&weights, &model, &trainable, recipe.lora.alpha / recipe.lora.rank as f64)?;
    Ok(Summary { steps: recipe.steps(), scenes, seconds: begin.elapsed().as_secs_f64(), weights })
}

/// The base model, imported first if it is one of the zoo and not yet there.
pub(crate) fn load_base(
    base: &str,
    cache: &Cache,
    device: &Device,
    progress: bool,
) -> Result<Loaded<Processor>, TrainError> {
    let dir = match registry::resolve(base) {
        Err(safevlm::Error::NotInstalled { name }) => registry::import(&name, None, cache, progress)?,
        found => found?,
    };
    let config = read_json(&dir.join("config.json"))?;
    if !Processor::MODEL_TYPES.iter().any(|name| config["model_type"] == *name) {
        return Err(TrainError::Family { base: base.to_owned() });
    }
    Ok(Loaded::load(&dir, &config, &LoadOptions::default(), device)?)
}

/// Gradients of the grounding loss.
fn ground_step(
    model: &SafeSmol,
    recipe: &Recipe,
    grounding: Option<&Grounding>,
    step: usize,
    phase: &Phase,
    device: &Device,
) -> Result<(GradientsParams, Sums), TrainError> {
    let mut sums = Sums::default();
    let Some(grounding) = grounding else { return Ok((GradientsParams::new(), sums)) };
    let drawn = grounding.draw(step, phase.batch);
    let losses = grounding.losses(model, &drawn, phase.trains(recipe, "guard"), device);
    sums.count(losses.guard_logits.as_ref(), &grounding.labels(&drawn))?;
    for (sum, loss) in [(&mut sums.language, &losses.language), (&mut sums.guard, &losses.guard)] {
        *sum = loss.clone().map(|loss| read(loss.detach())).transpose()?;
    }
    let Some(loss) = losses.joint(recipe.safety_loss_lambda) else { return Ok((GradientsParams::new(), sums)) };
    sums.loss = read(loss.clone().detach())?;
    Ok((GradientsParams::from_grads(on_pool(|| loss.backward()), model), sums))
}

/// Gradients of the joint loss, or of the guard's alone, accumulated over micro-batches.
pub(crate) fn joint_step(
    model: &SafeSmol,
    recipe: &Recipe,
    phase: &Phase,
    examples: &[Example],
    processor: &Processor,
    device: &Device,
) -> Result<(GradientsParams, Sums), TrainError> {
    let mut sums = Sums::default();
    let mut gradients = Accumulated::new();
    let image_token = processor.image_token().unwrap_or_default();
    let parts: Vec<&[Example]> = examples.chunks(phase.micro_batch).collect();
    let batches: Vec<Batch> = parts.iter().map(|part| Batch::new(part, image_token, 0)).collect();
    // Every answer token and every label counts the same, whichever micro-batch it is in.
    let all_weights: f32 = batches.iter().flat_map(|batch| &batch.weights).sum();
    let all_labels: usize = batches.iter().map(|batch| batch.labels.len()).sum();
    for (part, batch) in parts.into_iter().zip(&batches) {
        let images: Vec<_> = part.iter().map(|example| &example.image).collect();
        let features = model.vision.encode(processor.pixels(&images, device)?);
        let mut losses = joint_loss(model, batch, features, device)?;
        sums.count(losses.guard_logits.as_ref(), &batch.labels)?;
        let weights: f32 = batch.weights.iter().sum();
        for (sum, loss, share) in [
            (&mut sums.language, &mut losses.language, f64::from(weights / all_weights)),
            (&mut sums.guard, &mut losses.guard, batch.labels.len() as f64 / all_labels as f64),
        ] {
            *loss = loss.take().map(|loss| loss.mul_scalar(share));
            if let Some(loss) = loss {
                *sum = Some(sum.unwrap_or(0.0) + read(loss.clone().detach())?);
            }
        }
        if let Some(loss) = losses.joint(recipe.safety_loss_lambda) {
            sums.loss += read(loss.clone().detach())?;
            gradients.add(on_pool(|| loss.backward()), model);
        }
    }
    Ok((gradients.take(), sums))
}
