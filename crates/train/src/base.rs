//! The model that a run begins with.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use safevlm::{Cache, registry};
use safevlm_core::CLASSES;
use safevlm_family::{CONFIG_FILE, Family, LoadOptions, Loaded, eos_tokens, read_json};
use safevlm_nn::{CausalLm, LoraAdapterConfig, Matrix};
use serde_json::{Value, json};

use crate::error::TrainError;
use crate::recipe::{LoraRecipe, Recipe};

/// A model folder, and what its configuration becomes in a run.
pub(crate) struct Base {
    pub(crate) dir: PathBuf,
    /// The parsed `config.json`, with the recipe's guard in it.
    pub(crate) config: Value,
}

impl Base {
    /// The base of `recipe`, imported first if it is one of the zoo and not yet there.
    pub(crate) fn find(recipe: &Recipe, cache: &Cache, progress: bool) -> Result<Self, TrainError> {
        let dir = match registry::resolve(&recipe.base) {
            Err(safevlm::Error::NotInstalled { name }) => registry::import(&name, None, cache, progress)?,
            found => found?,
        };
        Self::open(&dir, recipe)
    }

    fn open(dir: &Path, recipe: &Recipe) -> Result<Self, TrainError> {
        let mut config = read_json(&dir.join(CONFIG_FILE))?;
        with_guard(&mut config, recipe);
        Ok(Self { dir: dir.to_owned(), config })
    }

    /// Ids that end an answer.
    pub(crate) fn ends(&self) -> Result<Vec<u32>, TrainError> {
        Ok(eos_tokens(&self.dir, &self.config)?)
    }

    /// The model, with a fresh guard and adapters where `recipe` has them.
    pub(crate) fn load<F: Family>(&self, recipe: &Recipe, device: &Device) -> Result<Loaded<F>, TrainError> {
        let options =
            LoadOptions { fresh_guard: recipe.guard.is_some(), dtype: recipe.precision, ..LoadOptions::default() };
        let mut loaded = Loaded::<F>::load(&self.dir, &self.config, &options, device)?;
        let (guard, dropout) = (loaded.model.guard.take(), recipe.guard.as_ref().map(|guard| guard.dropout));
        loaded.model.guard =
            guard.map(|guard| dropout.into_iter().fold(guard, |guard, share| guard.with_dropout(share)));
        // Drawn now, from the run's own seed, and not by chance where they are first used.
        loaded.model.guard.visit(&mut Draw);
        if let Some(LoraRecipe { rank, alpha, dropout, targets }) = &recipe.lora {
            check_targets(&mut loaded.model.language_model, targets)?;
            let adapters = LoraAdapterConfig::new(*rank, *alpha).with_dropout(*dropout);
            loaded.model.language_model = loaded.model.language_model.attach_lora(targets, &adapters);
        }
        Ok(loaded)
    }
}

/// Gives every parameter its values.
struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}

/// Writes the recipe's guard into a model's `config.json`.
pub(crate) fn with_guard(config: &mut Value, recipe: &Recipe) {
    let Some(guard) = &recipe.guard else { return };
    let keys = json!({
        "num_safety_categories": CLASSES.len(),
        "safety_categories": CLASSES.iter().map(|class| class.name).collect::<Vec<_>>(),
        "safety_head_hidden_scale": guard.hidden_scale,
        "safety_num_hidden_layers": 1,
        "guard_input": guard.input,
        "safety_meta_token": guard.meta_token,
    });
    if let (Some(config), Value::Object(keys)) = (config.as_object_mut(), keys) {
        config.extend(keys);
    }
}

/// Every target must be the name of a linear layer: one that is misspelt would silently learn nothing.
pub(crate) fn check_targets(language_model: &mut impl CausalLm, targets: &[String]) -> Result<(), TrainError> {
    let mut known = Vec::new();
    language_model.matrices(&mut |name, matrix| {
        if matches!(matrix, Matrix::Linear(_)) && !known.iter().any(|other| other == name) {
            known.push(name.to_owned());
        }
    });
    match targets.iter().find(|target| !known.contains(target)) {
        Some(target) => Err(TrainError::Target { target: target.clone(), known: known.join(", ") }),
        None => Ok(()),
    }
}
