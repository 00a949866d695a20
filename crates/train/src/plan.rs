//! What a recipe would do, without doing it.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use safevlm::{DeviceSpec, registry};
use safevlm_family::{CONFIG_FILE, Family, read_json};
use safevlm_nn::CausalLm;
use serde::Serialize;
use serde_json::Value;

use crate::base::{check_targets, with_guard};
use crate::error::TrainError;
use crate::recipe::{DataKind, Recipe};
use crate::sources::open_source;
use crate::trainable::Trainable;
use crate::trainee::{Trainee, WithTrainee, published_config, with_trainee};

/// A recipe that has been checked.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the run.
    pub name: String,
    /// The base, and what is said of one that is not installed.
    pub base: (String, &'static str),
    /// Parameters of the whole model with adapters; none for a base that is neither installed nor a published size.
    pub parameters: Option<usize>,
    /// Parameters of each set that is trained.
    pub trained: BTreeMap<String, usize>,
    /// The sources: what they are, and their samples, or why they cannot be used.
    pub data: Vec<(String, Result<Option<usize>, String>)>,
    /// Optimizer steps; none where they depend on data that are not there.
    pub steps: Option<usize>,
}

/// Checks `recipe` against its base and its data as far as they are there, and counts what would be trained.
///
/// # Errors
///
/// If the recipe does not fit the base, or a file of data is there and damaged.
pub fn plan(recipe: &Recipe) -> Result<Plan, TrainError> {
    let mut data = Vec::new();
    let mut samples = Some(0);
    for source in &recipe.data {
        let path = source.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let what = format!("{:?} {path}", source.kind).to_lowercase();
        let missing = source.path.as_ref().is_some_and(|path| !path.exists());
        let count = match source.kind {
            DataKind::Symbolic => Ok(None),
            _ if missing => Err("not there".to_owned()),
            _ => Ok(open_source(source, recipe, false)?.count()),
        };
        samples = samples.and_then(|sum: usize| Some(sum + count.as_ref().ok()?.unwrap_or(0)));
        data.push((what.trim().to_owned(), count));
    }
    let mut counted = recipe.clone();
    let ends = |samples: &usize| *samples > 0;
    let steps = match samples {
        None if recipe.phase.iter().any(|phase| phase.epochs.is_some()) => None,
        samples => {
            counted
                .count_steps(samples.filter(ends))
                .map_err(|reason| TrainError::Recipe { path: recipe.name.clone().into(), reason })?;
            Some(counted.steps())
        }
    };
    let installed = registry::resolve(&recipe.base);
    let config = match &installed {
        Ok(dir) => Some(read_json(&dir.join(CONFIG_FILE))?),
        Err(_) => published_config(&recipe.base),
    };
    let missing = match installed {
        Ok(_) => "",
        Err(safevlm::Error::NotInstalled { .. }) => ", which the run imports first",
        Err(_) => ", not there: `safevlm import` or make it first",
    };
    let base = (recipe.base.clone(), missing);
    let (parameters, trained) = match config {
        Some(mut config) => {
            with_guard(&mut config, recipe);
            let (parameters, trained) = with_trainee(&recipe.base, &config, Count { recipe, config: &config })?;
            (Some(parameters), trained)
        }
        None => (None, BTreeMap::new()),
    };
    Ok(Plan { name: recipe.name.clone(), base, parameters, trained, data, steps })
}

struct Count<'a> {
    recipe: &'a Recipe,
    config: &'a Value,
}

impl WithTrainee for Count<'_> {
    type Output = (usize, BTreeMap<String, usize>);

    fn run<F: Trainee>(self) -> Result<Self::Output, TrainError> {
        let recipe = self.recipe;
        // Parameters are lazy: none is made.
        let (device, _) = DeviceSpec::Flex.open().or_else(|_| DeviceSpec::Auto.open()).map_err(safevlm::Error::from)?;
        let config = F::config(self.config)?;
        let mut model = <F as Family>::init(&config, &device);
        let mut adapters = 0;
        if let Some(lora) = &recipe.lora {
            check_targets(&mut model.language_model, &lora.targets)?;
            model.language_model.matrices(&mut |name, mut matrix| {
                if lora.targets.iter().any(|target| target == name) {
                    let shape = matrix.weight().param().map(|param| param.lazy_shape());
                    adapters += lora.rank * shape.map_or(0, |shape| shape.iter().sum::<usize>());
                }
            });
        }
        let sets = recipe.learning_rate.keys().filter(|set| *set != "lora");
        let trainable = Trainable::find(&model, sets, recipe.vision_from)?;
        let mut sizes = Sizes::default();
        model.visit(&mut sizes);
        let count = |ids: &Vec<_>| ids.iter().filter_map(|id| sizes.0.get(id)).sum();
        let mut trained: BTreeMap<String, usize> =
            trainable.sets.iter().map(|(set, ids)| (set.clone(), count(ids))).collect();
        if recipe.lora.is_some() {
            trained.insert("lora".to_owned(), adapters);
        }
        Ok((sizes.0.values().sum::<usize>() + adapters, trained))
    }
}

/// Number of values of each parameter.
#[derive(Default)]
struct Sizes(BTreeMap<burn::module::ParamId, usize>);

impl ModuleVisitor for Sizes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, param.lazy_shape().iter().product());
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, missing) = &self.base;
        writeln!(f, "{}: {base}{missing}", self.name)?;
        match self.parameters {
            Some(parameters) => writeln!(f, "{:>14} parameters", parameters)?,
            None => writeln!(f, "               parameters are not counted: it is no published size either")?,
        }
        for (set, count) in &self.trained {
            writeln!(f, "{count:>14} trained: {set}")?;
        }
        for (what, samples) in &self.data {
            match samples {
                Ok(Some(samples)) => writeln!(f, "{samples:>14} samples: {what}")?,
                Ok(None) => writeln!(f, "       endless samples: {what}")?,
                Err(reason) => writeln!(f, "          none samples: {what} ({reason})")?,
            }
        }
        match self.steps {
            Some(steps) => write!(f, "{steps:>14} steps"),
            None => write!(f, "               steps follow from the data"),
        }
    }
}
