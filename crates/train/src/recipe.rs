//! One TOML file a training job.

mod check;
mod extends;
mod overrides;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safevlm_data::{Combination, Split};
use safevlm_nn::GuardInput;
use safevlm_weights::FloatDtype;
use serde::{Deserialize, Serialize};
use toml::Value;

use crate::augment::Augment;
use crate::error::TrainError;

/// Everything that decides what a training run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run.
    pub name: String,
    /// Model to begin with: a name of the zoo or a folder.
    pub base: String,
    /// Where checkpoints, the log and the trained weights go.
    pub output: PathBuf,
    /// Seed of the data's order, the adapters and dropout.
    pub seed: u64,
    /// What is learned from; composed scenes where nothing is named.
    #[serde(default = "symbolic")]
    pub data: Vec<DataRecipe>,
    /// How pictures are varied; not at all where it is not given.
    #[serde(default)]
    pub augment: Option<Augment>,
    /// A guard that begins anew, in place of the base's or on a base that has none.
    #[serde(default)]
    pub guard: Option<GuardRecipe>,
    /// How the model is measured on other data while it is trained; not at all where it is not given.
    #[serde(default)]
    pub validation: Option<Validation>,
    /// Whether what is cheap to compute is computed again on the way back instead of kept: less memory, more time.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Longest row, in tokens; the model's context where it is not given. Longer answers are cut.
    #[serde(default)]
    pub max_tokens: Option<usize>,
    /// λ, the weight of the guard's loss beside the language model's.
    pub safety_loss_lambda: f64,
    /// Gradients are scaled down so that their global norm is at most this.
    pub clip_norm: f64,
    /// AdamW's weight decay.
    pub weight_decay: f32,
    /// Share of each phase in which the learning rate rises.
    pub warmup: f64,
    /// Share of the highest learning rate at which the cosine ends.
    pub final_rate: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
    /// Highest learning rate of each trained set: `vision`, `projector`, `guard`, `lora`. A set that
    /// is not named stays frozen.
    pub learning_rate: BTreeMap<String, f64>,
    /// First block of an EfficientNet that the set `vision` holds; the head is in it too. Whatever
    /// stands before it stays frozen, and grounding computes it once a picture. All where it is not given.
    #[serde(default)]
    pub vision_from: Option<usize>,
    /// What the answers of each combination count in the loss; 1 where it is not named.
    #[serde(default)]
    pub weight: BTreeMap<Combination, f64>,
    /// The language model's adapters; given where `learning_rate` names `lora`, and only there.
    #[serde(default)]
    pub lora: Option<LoraRecipe>,
    /// The type that is computed in, f32 or bf16. What is trained is kept and stepped in f32.
    #[serde(default)]
    pub precision: FloatDtype,
    /// The type in which the trained weights are saved.
    #[serde(default)]
    pub save_as: FloatDtype,
    /// The phases, one after another.
    pub phase: Vec<Phase>,
    /// What `safevlm train` measures when the run has ended, for its model card; nothing where it is not given.
    #[serde(default)]
    pub card: Option<CardRecipe>,
}

/// Data that a trained model is measured on, beside its base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardRecipe {
    /// Rows that training has not seen, with the fields of HoliSafe-Bench; or give `scenes`.
    #[serde(default)]
    pub bench: Option<PathBuf>,
    /// Where the pictures of both are, if not in the folder `images` beside each.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// Rows of other pictures, on which thresholds and temperature are chosen.
    #[serde(default)]
    pub validation: Option<PathBuf>,
    /// Scenes that are composed of vendors that training never sees, and as many others to choose thresholds on.
    #[serde(default)]
    pub scenes: Option<u32>,
    /// Tokens of an answer at most.
    #[serde(default = "answer_tokens")]
    pub max_new_tokens: usize,
}

/// A source of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// What it is.
    pub kind: DataKind,
    /// Which composed scenes.
    #[serde(default = "train_split")]
    pub split: Split,
    /// The file of rows, JSON lines or a JSON array; not for symbolic scenes.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Folder or uncompressed tar of the rows' pictures; `images` beside the file where it is not given.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// Combinations whose questions are left out.
    #[serde(default)]
    pub without: Vec<Combination>,
    /// What it counts beside other sources; as many as it has samples where it is not given, 1 for composed scenes.
    #[serde(default)]
    pub weight: Option<f64>,
}

/// When and on what the loss is measured without learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Steps between two measurements.
    pub every: usize,
    /// Samples of each, always the same ones.
    pub samples: usize,
    /// Measurements without a lower loss after which the run ends; it goes on to its end where it is not given.
    #[serde(default)]
    pub patience: Option<usize>,
    /// What it is measured on.
    pub data: Vec<DataRecipe>,
}

/// Where samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// Scenes composed of openly licensed symbols, without end.
    Symbolic,
    /// Rows with the fields of HoliSafe-Bench and an `answer`.
    Holisafe,
    /// Conversations as LLaVA is trained from, with or without pictures and classes.
    Llava,
}

/// A guard head to begin with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardRecipe {
    /// Width inside the head, as a share of the language model's.
    pub hidden_scale: f64,
    /// What it looks at.
    pub input: GuardInput,
    /// Whether it looks at the state of a token of its own, as in the paper's v1.
    pub meta_token: bool,
    /// Share of values that are dropped between its layers while it is trained.
    pub dropout: f64,
}

impl Default for GuardRecipe {
    fn default() -> Self {
        Self { hidden_scale: 0.5, input: GuardInput::HiddenStates, meta_token: false, dropout: 0.1 }
    }
}

/// LoRA on the language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraRecipe {
    /// Rank of the adapters.
    pub rank: usize,
    /// Their scale is `alpha / rank`.
    pub alpha: f64,
    /// Share of their input that is dropped while they are trained, below 1.
    #[serde(default)]
    pub dropout: f64,
    /// Linear layers that get one, by their names in the checkpoint.
    pub targets: Vec<String>,
}

/// A part of the run with its own loss and schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name in the log, and of the folder for what was learned by its end; each phase has its own.
    pub name: String,
    /// What is trained.
    pub stage: Stage,
    /// Optimizer steps; or give `epochs`.
    #[serde(default)]
    pub steps: usize,
    /// How often all rows are seen; symbolic scenes, which have no end, do not count.
    #[serde(default)]
    pub epochs: Option<f64>,
    /// Samples of one step: pictures with all their questions, or conversations.
    pub batch: usize,
    /// Rows of one forward pass; the step accumulates as many as it takes. Not for grounding.
    #[serde(default = "one")]
    pub micro_batch: usize,
    /// For grounding: pictures that are encoded once and drawn from in every step.
    #[serde(default = "one")]
    pub scenes: usize,
    /// Multiplies the learning rates in this phase.
    #[serde(default = "unit")]
    pub rate: f64,
    /// Which of the trained sets learn in this phase; all where it is not given.
    #[serde(default)]
    pub sets: Option<Vec<String>>,
    /// What the answers of each combination count in this phase, instead of the recipe's `weight`.
    #[serde(default)]
    pub weight: BTreeMap<Combination, f64>,
    /// How many times that an answer's first token counts, which decides between an answer and a refusal.
    #[serde(default = "unit")]
    pub first_token: f64,
}

/// What a phase trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The projector, with the vision encoder's last blocks where the recipe trains them, learns to write the
    /// names of things as word embeddings, without the language model.
    Ground,
    /// The guard's loss alone; sequences end with the image, which makes a step several times cheaper.
    Guard,
    /// The joint loss: answers and guard.
    Joint,
}

impl Phase {
    /// Samples that it takes from the data.
    pub(crate) fn samples(&self) -> usize {
        match self.stage {
            Stage::Ground => self.scenes,
            Stage::Guard | Stage::Joint => self.steps * self.batch,
        }
    }

    /// Whether the set learns in this phase of `recipe`.
    pub fn trains(&self, recipe: &Recipe, set: &str) -> bool {
        recipe.learning_rate.contains_key(set)
            && self.sets.as_ref().is_none_or(|sets| sets.iter().any(|own| own == set))
    }

    /// What an answer counts in this phase of `recipe`; ordinary conversations, of no combination, count 1.
    pub fn weight_of(&self, recipe: &Recipe, combination: Option<Combination>) -> f64 {
        let Some(combination) = combination else { return 1.0 };
        self.weight.get(&combination).or(recipe.weight.get(&combination)).copied().unwrap_or(1.0)
    }
}

fn symbolic() -> Vec<DataRecipe> {
    vec![DataRecipe {
        kind: DataKind::Symbolic,
        split: Split::Train,
        path: None,
        images: None,
        without: vec![],
        weight: None,
    }]
}

fn train_split() -> Split {
    Split::Train
}

fn answer_tokens() -> usize {
    256
}

fn one() -> usize {
    1
}

fn unit() -> f64 {
    1.0
}

impl Recipe {
    /// Reads `path` and applies `key=value` overrides, whose keys may have dots. A file with `extends = "other.toml"`
    /// names only what differs from that one beside it: tables are laid over its tables, lists replace its lists.
    ///
    /// # Errors
    ///
    /// If a file is missing or no recipe, or an override names no key of it.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let bad = |reason: String| TrainError::Recipe { path: path.to_owned(), reason };
        let mut table = extends::read(path)?;
        for given in overrides {
            overrides::set(&mut table, given)?;
        }
        let recipe: Self = Value::Table(table).try_into().map_err(|e| bad(one_line(&e)))?;
        recipe.check().map_err(bad)?;
        Ok(recipe)
    }

    /// Steps of all phases.
    pub fn steps(&self) -> usize {
        self.phase.iter().map(|p| p.steps).sum()
    }

    /// Turns `epochs` into steps, for data that have so many samples.
    pub(crate) fn count_steps(&mut self, samples: Option<usize>) -> Result<(), String> {
        for phase in &mut self.phase {
            if let Some(epochs) = phase.epochs.take() {
                let samples =
                    samples.ok_or("phase.epochs needs data that end: give phase.steps for symbolic scenes")?;
                phase.steps = (epochs * samples as f64 / phase.batch as f64).ceil() as usize;
            }
        }
        Ok(())
    }
}

/// The error with the key that it is about, which TOML writes in a line of its own.
fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
