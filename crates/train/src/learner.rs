//! The training loop.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm::{Cache, DeviceSpec, registry};
use safevlm_core::Conversation;
use safevlm_data::{Combination, PictureSets, Record, Split};
use safevlm_nn::{AttachLora, VisionEncoder};
use safevlm_safe_smol::{Processor, SafeSmol, SafeSmolConfig};
use safevlm_weights::{Allow, SafetensorsDir, load_module};
use serde::Serialize;

use crate::batch::{Batch, Example};
use crate::checkpoint::{self, State};
use crate::error::TrainError;
use crate::export::export;
use crate::loss::joint_loss;
use crate::optimizer::{Accumulated, GroupedAdamW, learning_rate, read};
use crate::recipe::{LoraRecipe, Phase, Recipe};
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

/// One line of the log.
#[derive(Serialize)]
struct Line<'a> {
    step: usize,
    phase: &'a str,
    loss: f64,
    language: Option<f64>,
    guard: Option<f64>,
    accuracy: f64,
    gradient_norm: f64,
    rate: f64,
    seconds: f64,
}

/// Runs `recipe` on `device` from its latest checkpoint, or from the beginning, and writes the
/// trained weights to `OUTPUT/trained.safetensors`.
///
/// # Errors
///
/// If the base model, the pictures or a checkpoint cannot be used, the output cannot be written, or
/// the loss is no number.
pub fn run(recipe: &Recipe, device: &DeviceSpec, progress: bool) -> Result<Summary, TrainError> {
    let begin = Instant::now();
    let (plain, _) = device.open().map_err(safevlm::Error::from)?;
    let device = plain.autodiff();
    device.seed(recipe.seed);
    let cache = Cache::open(None)?;
    let (config, mut model, processor) = load_base(&recipe.base, &cache, &device, progress)?;
    if recipe.learning_rate.contains_key("lora") {
        let LoraRecipe { rank, alpha, targets } = &recipe.lora;
        model.language_model = model.language_model.attach_lora(targets, *rank, *alpha);
    }
    let mut trainable = Trainable::find(&model, recipe.learning_rate.keys())?;
    let mut optimizer = GroupedAdamW::new(recipe, trainable.clone());
    let mut first = 0;
    if let Some((path, state)) = checkpoint::latest(&recipe.output, recipe)? {
        (model, optimizer) = checkpoint::restore(&path, model, optimizer)?;
        // The restored parameters have the ids of the run that wrote them.
        trainable = Trainable::find(&model, recipe.learning_rate.keys())?;
        optimizer = optimizer.with_trainable(trainable.clone());
        first = state.step;
    }
    model = trainable.apply(model);

    let sets = PictureSets::load(&cache, Split::Train, progress)?;
    let feed = Feed { sets: &sets, processor: &processor, config: &config, seed: recipe.seed, weight: &recipe.weight };
    let mut log = open_log(&recipe.output)?;
    let bar = progress_bar(recipe.steps(), first, progress);
    let (mut step, mut scenes, mut scene) = (0, 0, 0);
    for phase in &recipe.phase {
        for at in 0..phase.steps {
            let scenes_here = scene..scene + phase.batch;
            scene = scenes_here.end;
            step += 1;
            if step <= first {
                continue;
            }
            device.seed(recipe.seed.wrapping_add(step as u64));
            let share = learning_rate(recipe, at, phase.steps);
            let rates = recipe.learning_rate.iter().map(|(set, rate)| (set.clone(), rate * share)).collect();
            let examples = feed.examples(scenes_here, phase)?;
            scenes += examples.len();
            let (trained, sums) = train_step(model, &mut optimizer, recipe, phase, &examples, &feed, &rates, &device)?;
            model = trained;
            if !sums.loss.is_finite() {
                return Err(TrainError::NotFinite { step, value: sums.loss as f32 });
            }
            let line = sums.line(step, &phase.name, share, begin.elapsed().as_secs_f64());
            writeln!(log, "{}", serde_json::to_string(&line).unwrap_or_default())
                .map_err(|source| TrainError::Write { path: recipe.output.clone(), source })?;
            bar.set_message(line.message());
            bar.inc(1);
            if step % recipe.checkpoint_every == 0 || step == recipe.steps() {
                let state = State { step, recipe: recipe.clone() };
                checkpoint::save(&recipe.output, &model, trainable.group(), &optimizer, &state)?;
            }
        }
    }
    bar.finish();
    let weights = recipe.output.join("trained.safetensors");
    export(&weights, &model, &trainable, recipe.lora.alpha / recipe.lora.rank as f64)?;
    Ok(Summary { steps: recipe.steps(), scenes, seconds: begin.elapsed().as_secs_f64(), weights })
}

/// The base model, imported first if it is one of the zoo and not yet there.
fn load_base(
    base: &str,
    cache: &Cache,
    device: &Device,
    progress: bool,
) -> Result<(SafeSmolConfig, SafeSmol, Processor), TrainError> {
    let dir = match registry::resolve(base) {
        Err(safevlm::Error::NotInstalled { name }) => registry::import(&name, cache, progress)?,
        found => found?,
    };
    let family = || TrainError::Family { base: base.to_owned() };
    let text = std::fs::read_to_string(dir.join("config.json")).map_err(|_| family())?;
    let config: serde_json::Value = serde_json::from_str(&text).map_err(|_| family())?;
    if config["model_type"] != "safe_smol" {
        return Err(family());
    }
    let config = SafeSmolConfig::from_hf(&config)?;
    let weights = SafetensorsDir::open(&dir)?;
    let keys = safevlm_safe_smol::key_map();
    let (model, _) = load_module(config.init(device), &weights, &keys, &Allow::nothing())?;
    let processor = Processor::from_dir(&dir, &config)?;
    Ok((config, model, processor))
}

/// Makes examples of scenes.
struct Feed<'a> {
    sets: &'a PictureSets,
    processor: &'a Processor,
    config: &'a SafeSmolConfig,
    seed: u64,
    weight: &'a BTreeMap<Combination, f64>,
}

impl Feed<'_> {
    /// One example a scene, about one of its rows.
    fn examples(&self, scenes: std::ops::Range<usize>, phase: &Phase) -> Result<Vec<Example>, TrainError> {
        let one = |number: usize| {
            let seed = self.seed.wrapping_mul(1 << 32).wrapping_add(number as u64);
            let scene = self.sets.scene(seed)?;
            let row = self.row(&scene.rows, seed);
            let image = Arc::new(scene.image);
            let conversation = Conversation::new().user(row.query.clone(), [image.clone()]);
            let mut prompt = self.processor.prompt(&conversation)?;
            let mut answer = Vec::new();
            if phase.answers {
                answer = self.processor.answer(&row.answer)?;
            } else {
                let last = prompt.iter().rposition(|id| *id == self.config.image_token);
                prompt.truncate(last.map_or(0, |last| last + 1));
            }
            drop(conversation);
            let image = Arc::unwrap_or_clone(image);
            Ok(Example { prompt, answer, label: Some(scene.label_id), image })
        };
        scenes.map(one).collect()
    }

    /// Draws one of a scene's rows by the recipe's weights.
    fn row<'r>(&self, rows: &'r [Record], seed: u64) -> &'r Record {
        let weight = |row: &Record| self.weight.get(&row.combination).copied().unwrap_or(1.0);
        let total: f64 = rows.iter().map(weight).sum();
        let mut left = ChaCha8Rng::seed_from_u64(seed).random::<f64>() * total;
        let drawn = rows.iter().position(|row| {
            left -= weight(row);
            left < 0.0
        });
        &rows[drawn.unwrap_or(rows.len() - 1)]
    }
}

/// Sums over one step.
#[derive(Default)]
struct Sums {
    loss: f64,
    language: Option<f64>,
    guard: Option<f64>,
    right: usize,
    images: usize,
    norm: f64,
}

impl Sums {
    fn line<'a>(&self, step: usize, phase: &'a str, rate: f64, seconds: f64) -> Line<'a> {
        let accuracy = self.right as f64 / self.images.max(1) as f64;
        let (loss, language, guard) = (self.loss, self.language, self.guard);
        Line { step, phase, loss, language, guard, accuracy, gradient_norm: self.norm, rate, seconds }
    }
}

impl Line<'_> {
    fn message(&self) -> String {
        let part = |name: &str, value: Option<f64>| value.map_or(String::new(), |v| format!("{name} {v:.3} "));
        format!(
            "{} {}{}accuracy {:.2}",
            self.phase,
            part("answer", self.language),
            part("guard", self.guard),
            self.accuracy
        )
    }
}

#[allow(clippy::too_many_arguments, reason = "the whole state of one step")]
fn train_step(
    model: SafeSmol,
    optimizer: &mut GroupedAdamW,
    recipe: &Recipe,
    phase: &Phase,
    examples: &[Example],
    feed: &Feed<'_>,
    rates: &BTreeMap<String, f64>,
    device: &Device,
) -> Result<(SafeSmol, Sums), TrainError> {
    let mut sums = Sums::default();
    let mut gradients = Accumulated::new();
    for part in examples.chunks(phase.micro_batch) {
        let share = part.len() as f64 / examples.len() as f64;
        let batch = Batch::new(part, feed.config.image_token, 0);
        let images: Vec<_> = part.iter().map(|example| &example.image).collect();
        let features = model.vision.encode(feed.processor.pixels(&images, device)?);
        let losses = joint_loss(&model, &batch, features, device)?;
        if let Some(logits) = &losses.guard_logits {
            let [_, classes] = logits.dims();
            let values = logits.clone().detach().try_into_data().map_err(|e| TrainError::Device(e.to_string()))?;
            let values = values.try_into_vec::<f32>().map_err(|e| TrainError::Device(format!("{e:?}")))?;
            let guesses = values.chunks(classes).map(safevlm_nn::sampler::argmax);
            sums.right += guesses.zip(&batch.labels).filter(|(guess, label)| *guess as i32 == **label).count();
            sums.images += batch.labels.len();
        }
        for (sum, loss) in [(&mut sums.language, &losses.language), (&mut sums.guard, &losses.guard)] {
            if let Some(loss) = loss {
                *sum = Some(sum.unwrap_or(0.0) + share * read(loss.clone().detach())?);
            }
        }
        if let Some(loss) = losses.joint(recipe.safety_loss_lambda) {
            let loss = loss.mul_scalar(share);
            sums.loss += read(loss.clone().detach())?;
            gradients.add(loss.backward(), &model);
        }
    }
    let (model, norm) = optimizer.step(model, gradients.take(), rates)?;
    sums.norm = norm;
    Ok((model, sums))
}

fn open_log(output: &Path) -> Result<File, TrainError> {
    let write = |source| TrainError::Write { path: output.to_owned(), source };
    std::fs::create_dir_all(output).map_err(write)?;
    OpenOptions::new().create(true).append(true).open(output.join("log.jsonl")).map_err(write)
}

fn progress_bar(steps: usize, first: usize, shown: bool) -> ProgressBar {
    let bar = if shown { ProgressBar::new(steps as u64) } else { ProgressBar::hidden() };
    let template = "{bar:24} {pos}/{len} {msg} [{elapsed}, {eta} left]";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_position(first as u64);
    bar.reset_eta();
    bar
}
