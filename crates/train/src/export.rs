//! The trained part as an adapter in PEFT's format, which [`safevlm_weights::PeftAdapter`] and Python's `peft` read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use safevlm_weights::{ADAPTER_FILE, FieldPath, LoadReport, StagedFolder, Tensors, save_tensors};
use serde_json::{Value, json};

use crate::error::TrainError;
use crate::optimizer::{GroupedAdamW, read_all};
use crate::recipe::{LoraRecipe, Recipe};
use crate::trainable::Trainable;

/// The folder in a run's output.
pub(crate) const ADAPTER: &str = "adapter";
/// The folder with one adapter a phase but the last, as it stood at the phase's end.
pub(crate) const PHASES: &str = "phases";

/// Writes the `trainable` parameters of `model` to the folder `to`, with `config`, the model's `config.json`,
/// which may have a guard that the base has not. `report` tells the checkpoint's names.
pub(crate) fn export(
    to: &Path,
    recipe: &Recipe,
    config: &Value,
    model: &impl Module,
    (trainable, optimizer): (&Trainable, &GroupedAdamW),
    report: &LoadReport,
) -> Result<PathBuf, TrainError> {
    let ids = trainable.sets.values().flatten().copied().collect();
    let names = report.applied.iter().map(|tensor| (tensor.field.as_str(), tensor.name.as_str())).collect();
    let mut collect =
        Collect { ids, names, optimizer, path: FieldPath::default(), tensors: Tensors::new(), failed: None };
    model.visit(&mut collect);
    let Collect { tensors, failed, .. } = collect;
    if let Some(error) = failed {
        return Err(error);
    }
    let staged = StagedFolder::create(to)?;
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    save_tensors(&staged.path().join(ADAPTER_FILE), &tensors, recipe.save_as, &metadata)?;
    staged.write_json("adapter_config.json", &adapter_config(recipe, &tensors))?;
    staged.write_json("config.json", config)?;
    Ok(staged.commit(format!("safevlm train {}", recipe.name), BTreeMap::new())?)
}

/// PEFT's configuration of the adapter with these tensors.
fn adapter_config(recipe: &Recipe, tensors: &Tensors) -> Value {
    let names: Vec<String> = tensors.iter().map(|(name, ..)| name.to_owned()).collect();
    let module = |name: &String| {
        let name = name.strip_prefix(WRAPPER).unwrap_or(name);
        (!name.contains(".lora_")).then(|| name.rsplit_once('.').map_or(name, |(module, _)| module).to_owned())
    };
    let modules: BTreeSet<String> = names.iter().filter_map(module).collect();
    // PEFT saves a module with all that is in it, and must not be told of its inner ones again.
    let inside = |module: &str| {
        modules.iter().any(|outer| module.strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let whole: Vec<&String> = modules.iter().filter(|module| !inside(module)).collect();
    // Without adapters the rank has no meaning, but must be there.
    let lora = recipe.lora.as_ref().filter(|_| names.iter().any(|name| name.contains(".lora_")));
    let (rank, alpha, dropout, targets) = match lora {
        Some(LoraRecipe { rank, alpha, dropout, targets }) => {
            (*rank, *alpha, *dropout, format!(".*language_model.*\\.({})", targets.join("|")))
        }
        None => (1, 1.0, 0.0, String::new()),
    };
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": recipe.base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        // A pattern, so that the vision encoder's layers of the same names are left alone.
        "target_modules": targets,
        "modules_to_save": whole,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
    })
}

/// What PEFT puts before the names of the model that it wraps.
const WRAPPER: &str = "base_model.model.";

struct Collect<'a> {
    ids: BTreeSet<ParamId>,
    /// Checkpoint names by field.
    names: BTreeMap<&'a str, &'a str>,
    /// Has the exact values of those in half precision.
    optimizer: &'a GroupedAdamW,
    path: FieldPath,
    tensors: Tensors,
    failed: Option<TrainError>,
}

impl Collect<'_> {
    /// The adapter's name for the field `field`.
    fn name(&self, field: &str) -> String {
        for (half, name) in [(".lora.a", "lora_A"), (".lora.b", "lora_B")] {
            if let Some(layer) = field.strip_suffix(half) {
                let weight = self.checkpoint_name(&format!("{layer}.weight"));
                return format!("{WRAPPER}{}.{name}.weight", weight.strip_suffix(".weight").unwrap_or(&weight));
            }
        }
        format!("{WRAPPER}{}", self.checkpoint_name(field))
    }

    /// The name of a field as the reference implementation has it in memory.
    fn checkpoint_name(&self, field: &str) -> String {
        match (self.names.get(field), field.strip_prefix("guard.")) {
            (Some(name), _) => in_memory(name),
            // A guard that the base has not.
            (None, Some(field)) => safevlm_vgm::checkpoint_name(field),
            (None, None) => field.to_owned(),
        }
    }
}

/// The module's name in transformers' newer releases for a tensor as files of any layout name it.
fn in_memory(name: &str) -> String {
    let rules = [
        ("model.language_model.model.", "model.language_model."),
        ("language_model.model.", "model.language_model."),
        ("language_model.lm_head.", "lm_head."),
        ("vision_tower.", "model.vision_tower."),
        ("visual.", "model.visual."),
        ("multi_modal_projector.", "model.multi_modal_projector."),
        ("model.layers.", "model.language_model.layers."),
        ("model.embed_tokens.", "model.language_model.embed_tokens."),
        ("model.norm.", "model.language_model.norm."),
    ];
    let rule = rules.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)));
    rule.unwrap_or_else(|| name.to_owned())
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.failed.is_some() || !self.ids.contains(&param.id) {
            return;
        }
        let name = self.name(&self.path.name());
        let value = param.val();
        let shape = value.dims().to_vec();
        let values = match self.optimizer.exact(&self.path.name()) {
            Some(exact) => read_all(exact),
            None => read_all(value),
        };
        self.failed = match values {
            Ok(values) => self.tensors.insert(name, shape, values).err().map(TrainError::from),
            Err(error) => Some(error),
        };
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }
}

#[cfg(test)]
mod tests {
    use super::in_memory;

    #[test]
    fn every_layout_has_one_name_in_memory() {
        for (names, expected) in [
            (
                &[
                    "language_model.model.layers.0.q.weight",
                    "model.layers.0.q.weight",
                    "model.language_model.layers.0.q.weight",
                    "model.language_model.model.layers.0.q.weight",
                ][..],
                "model.language_model.layers.0.q.weight",
            ),
            (&["language_model.lm_head.weight", "lm_head.weight"], "lm_head.weight"),
            (&["vision_tower.x", "model.vision_tower.x"], "model.vision_tower.x"),
            (&["visual.x", "model.visual.x"], "model.visual.x"),
            (&["img_safety_head.mlp.0.weight"], "img_safety_head.mlp.0.weight"),
        ] {
            names.iter().for_each(|name| assert_eq!(in_memory(name), expected));
        }
    }
}
