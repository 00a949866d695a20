//! One TOML file a training job.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safevlm_data::Combination;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

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
    /// Seed of the scenes, the adapters and dropout.
    pub seed: u64,
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
    /// First block of the vision encoder that the set `vision` holds; the head is in it too. Whatever
    /// stands before it stays frozen, and grounding computes it once a scene.
    #[serde(default)]
    pub vision_from: Option<usize>,
    /// What the answers of each combination count in the loss; 1 where it is not named.
    #[serde(default)]
    pub weight: BTreeMap<Combination, f64>,
    /// The language model's adapters; needed where `learning_rate` names `lora`.
    pub lora: LoraRecipe,
    /// The phases, one after another.
    pub phase: Vec<Phase>,
}

/// LoRA on the language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraRecipe {
    /// Rank of the adapters.
    pub rank: usize,
    /// Their scale is `alpha / rank`.
    pub alpha: f64,
    /// Linear layers that get one, by their names in the checkpoint.
    pub targets: Vec<String>,
}

/// A part of the run with its own loss and schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name in the log.
    pub name: String,
    /// What is trained.
    pub stage: Stage,
    /// Optimizer steps.
    pub steps: usize,
    /// Scenes of one step.
    pub batch: usize,
    /// Scenes of one forward pass; the step accumulates as many as it takes. Not for grounding.
    #[serde(default = "one")]
    pub micro_batch: usize,
    /// For grounding: scenes that are encoded once and drawn from in every step.
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
    /// The projector, with the vision encoder's last blocks and the guard where the recipe trains them, learns
    /// to write the names of things as word embeddings, without the language model.
    Ground,
    /// The guard's loss alone; sequences end with the image, which makes a step several times cheaper.
    Guard,
    /// The joint loss: answers and guard.
    Joint,
}

impl Phase {
    /// Whether the set learns in this phase of `recipe`.
    pub fn trains(&self, recipe: &Recipe, set: &str) -> bool {
        recipe.learning_rate.contains_key(set)
            && self.sets.as_ref().is_none_or(|sets| sets.iter().any(|own| own == set))
    }

    /// What an answer counts in this phase of `recipe`.
    pub fn weight_of(&self, recipe: &Recipe, combination: Combination) -> f64 {
        self.weight.get(&combination).or(recipe.weight.get(&combination)).copied().unwrap_or(1.0)
    }
}

fn one() -> usize {
    1
}

fn unit() -> f64 {
    1.0
}

impl Recipe {
    /// Reads `path` and applies `key=value` overrides, whose keys may have dots.
    ///
    /// # Errors
    ///
    /// If the file is missing or no recipe, or an override names no key of it.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TrainError::ReadRecipe { path: path.to_owned(), source })?;
        let bad = |reason: String| TrainError::Recipe { path: path.to_owned(), reason };
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| bad(e.message().to_owned()))?;
        for given in overrides {
            set(&mut table, given)?;
        }
        let recipe: Self = Value::Table(table).try_into().map_err(|e| bad(one_line(&e)))?;
        recipe.check().map_err(bad)?;
        Ok(recipe)
    }

    /// Steps of all phases.
    pub fn steps(&self) -> usize {
        self.phase.iter().map(|p| p.steps).sum()
    }

    fn check(&self) -> Result<(), String> {
        let positive = |name: &str, ok: bool| if ok { Ok(()) } else { Err(format!("{name} must be above 0")) };
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("{name} must be from 0 to 1")),
        };
        share("warmup", self.warmup)?;
        share("final_rate", self.final_rate)?;
        share("weight_decay", f64::from(self.weight_decay))?;
        if !(self.safety_loss_lambda >= 0.0 && self.safety_loss_lambda.is_finite()) {
            return Err("safety_loss_lambda must be 0 or more".to_owned());
        }
        positive("clip_norm", self.clip_norm > 0.0)?;
        positive("checkpoint_every", self.checkpoint_every > 0)?;
        positive("lora.rank", self.lora.rank > 0)?;
        for (set, rate) in &self.learning_rate {
            positive(&format!("learning_rate.{set}"), *rate > 0.0 && rate.is_finite())?;
        }
        let weights = self.phase.iter().flat_map(|phase| &phase.weight).chain(&self.weight);
        for (combination, weight) in weights {
            positive(&format!("weight.{}", combination.as_str()), *weight > 0.0 && weight.is_finite())?;
        }
        if self.learning_rate.contains_key("vision") != self.vision_from.is_some() {
            return Err("learning_rate.vision and vision_from go together: give both or neither".to_owned());
        }
        for phase in &self.phase {
            positive("phase.batch", phase.batch > 0)?;
            positive("phase.micro_batch", phase.micro_batch > 0)?;
            positive("phase.scenes", phase.scenes > 0)?;
            positive("phase.rate", phase.rate > 0.0 && phase.rate.is_finite())?;
            positive("phase.first_token", phase.first_token > 0.0 && phase.first_token.is_finite())?;
            if let Some(set) = phase.sets.iter().flatten().find(|set| !self.learning_rate.contains_key(*set)) {
                return Err(format!("phase.sets names {set}, which has no learning_rate"));
            }
        }
        match self.learning_rate.is_empty() || self.phase.is_empty() {
            true => Err("at least one learning_rate and one phase are needed".to_owned()),
            false => Ok(()),
        }
    }
}

/// The error with the key that it is about, which TOML writes in a line of its own.
fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sets one `a.b=value` in `table`; the value is TOML, or else a string.
fn set(table: &mut Table, given: &str) -> Result<(), TrainError> {
    let unfit = || TrainError::Override { given: given.to_owned() };
    let (key, value) = given.split_once('=').ok_or_else(unfit)?;
    let value = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let (path, last) = key.trim().rsplit_once('.').map_or((None, key.trim()), |(p, l)| (Some(p), l));
    let mut inner = table;
    for part in path.into_iter().flat_map(|p| p.split('.')) {
        inner = inner.get_mut(part).and_then(Value::as_table_mut).ok_or_else(unfit)?;
    }
    match inner.get_mut(last) {
        Some(old) => *old = value,
        None => return Err(unfit()),
    }
    Ok(())
}
