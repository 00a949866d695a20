//! Checkpoints that a killed run resumes from: written aside, then renamed, so that a folder with the
//! right name is always whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};
use safevlm_weights::{Allow, KeyMap, SafetensorsDir, SaveDtype, WeightsError, load_module, save_module};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::optimizer::{GroupedAdamW, changed};
use crate::recipe::Recipe;
use crate::trainable::Trainable;

const MODULE: &str = "trained.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// Where a run stands. The data follow from the step and the recipe's seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Optimizer steps done.
    pub(crate) step: usize,
    /// The recipe, to tell a checkpoint of another run.
    pub(crate) recipe: Recipe,
    /// How validation has gone.
    #[serde(default)]
    pub(crate) progress: Progress,
}

/// How validation has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The lowest loss.
    pub(crate) best: Option<f64>,
    /// Measurements since then.
    pub(crate) waited: usize,
    /// Whether the run has ended for want of a lower one.
    pub(crate) ended: bool,
}

/// Writes a checkpoint after `state.step` steps into `output`, and removes the one before it.
pub(crate) fn save<M: Module>(
    output: &Path,
    model: &M,
    trainable: &Trainable,
    optimizer: &GroupedAdamW,
    state: &State,
) -> Result<(), TrainError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::Write { path, source }
    };
    fs::create_dir_all(output).map_err(write(output))?;
    let aside = tempfile::Builder::new().prefix(".checkpoint").tempdir_in(output).map_err(write(output))?;
    let trained = trainable.paths(model);
    let kept = |path: &str| trained.contains(path).then(|| path.to_owned());
    save_module(&aside.path().join(MODULE), model, SaveDtype::F32, &BTreeMap::new(), &kept)?;
    optimizer.save(&aside.path().join(OPTIMIZER))?;
    let json = serde_json::to_vec_pretty(state)
        .map_err(|e| TrainError::Write { path: output.to_owned(), source: std::io::Error::other(e) })?;
    fs::write(aside.path().join(STATE), json).map_err(write(aside.path()))?;
    for file in [MODULE, OPTIMIZER, STATE] {
        let path = aside.path().join(file);
        fs::File::open(&path).and_then(|f| f.sync_all()).map_err(write(&path))?;
    }
    let target = output.join(name(state.step));
    let old = all(output)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(write(&target))?;
    }
    fs::rename(aside.keep(), &target).map_err(write(&target))?;
    for (_, path) in old.into_iter().filter(|(step, _)| *step != state.step) {
        fs::remove_dir_all(&path).map_err(write(&path))?;
    }
    Ok(())
}

/// The recipe of the run in the folder `run`, with its overrides and its steps counted.
///
/// # Errors
///
/// If there is no checkpoint in it, or a damaged one.
pub fn recipe_of(run: &Path) -> Result<Recipe, TrainError> {
    let bad = |path: &Path, reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
    let (_, path) = all(run)?.into_iter().max().ok_or_else(|| TrainError::NoRun { path: run.to_owned() })?;
    let text = fs::read_to_string(path.join(STATE)).map_err(|e| bad(&path, e.to_string()))?;
    let state: State = serde_json::from_str(&text).map_err(|e| bad(&path, e.to_string()))?;
    Ok(state.recipe)
}

/// The latest checkpoint in `output`: its folder and state.
pub(crate) fn latest(output: &Path, recipe: &Recipe) -> Result<Option<(PathBuf, State)>, TrainError> {
    let Some((_, path)) = all(output)?.into_iter().max() else { return Ok(None) };
    let bad = |reason: String| TrainError::Checkpoint { path: path.clone(), reason };
    let text = fs::read_to_string(path.join(STATE)).map_err(|e| bad(e.to_string()))?;
    let state: State = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    match &state.recipe == recipe {
        true => Ok(Some((path, state))),
        false => Err(TrainError::OtherRecipe { path }),
    }
}

/// Puts a checkpoint's parameters and moments in place of those at hand; `device` is without autodiff.
pub(crate) fn restore<M: Module>(
    path: &Path,
    model: M,
    optimizer: GroupedAdamW,
    device: &Device,
) -> Result<(M, GroupedAdamW), TrainError> {
    let bad = |e: WeightsError| TrainError::Checkpoint { path: path.to_owned(), reason: e.to_string() };
    let module = SafetensorsDir::open(&path.join(MODULE)).map_err(bad)?;
    // What is not trained is not in the checkpoint.
    let allow = Allow::nothing().missing("");
    let mut types = Types::default();
    model.visit(&mut types);
    let (model, _) = load_module(model, &module, &KeyMap::new(&[]), &allow).map_err(bad)?;
    let model = model.map(&mut types);
    match optimizer.load(&path.join(OPTIMIZER), device) {
        Err(TrainError::Weights(error)) => Err(bad(error)),
        other => Ok((model, other?)),
    }
}

/// The type of each parameter, which a checkpoint, all in f32, does not tell.
#[derive(Default)]
struct Types(BTreeMap<ParamId, DType>);

impl ModuleVisitor for Types {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, param.val().dtype());
    }
}

impl ModuleMapper for Types {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.get(&param.id).copied() {
            Some(dtype) if dtype != DType::F32 => param.map(|value| changed(value, |value| value.cast(dtype))),
            _ => param,
        }
    }
}

fn name(step: usize) -> String {
    format!("checkpoint-{step:06}")
}

fn all(output: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let entries = match fs::read_dir(output) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(TrainError::Write { path: output.to_owned(), source }),
    };
    let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok();
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(paths.filter_map(|path| step(&path).map(|step| (step, path))).collect())
}
