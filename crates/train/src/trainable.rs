//! Which parameters are trained, by the name of their set.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::tensor::Tensor;

use crate::error::TrainError;
use safevlm_weights::FieldPath;

/// Parameters of each trained set.
#[derive(Clone, Debug)]
pub struct Trainable {
    /// Set name to the ids of its parameters.
    pub sets: BTreeMap<String, Vec<ParamId>>,
}

impl Trainable {
    /// Finds the parameters of the named sets: `lora` is every adapter, any other name the module
    /// field of that name without adapters; a Qwen encoder's merger is the `projector`. Of `vision`, the stem and the blocks before `vision_from`
    /// are left out. Two kinds of tensors belong to no set: the statistics of batch norms, which are no
    /// parameters, and depthwise kernels, a hundredth of the encoder, whose gradients Burn computes channel by
    /// channel.
    ///
    /// # Errors
    ///
    /// If a set has no parameters in `model`.
    pub fn find<'a>(
        model: &impl Module,
        names: impl IntoIterator<Item = &'a String>,
        vision_from: Option<usize>,
    ) -> Result<Self, TrainError> {
        let paths = parameter_paths(model);
        let mut sets = BTreeMap::new();
        for name in names {
            let belongs = |path: &str| match path.contains(".lora.") {
                true => name == "lora",
                false => {
                    let path = match path.strip_prefix("vision.merger.") {
                        Some(rest) => format!("projector.{rest}"),
                        None => path.to_owned(),
                    };
                    path.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'))
                        && !path.contains(".running_")
                        && !path.ends_with("depthwise_conv.weight")
                        && !vision_from.is_some_and(|first| before(&path, first))
                }
            };
            let ids: Vec<ParamId> = paths.iter().filter(|(path, _)| belongs(path)).map(|(_, id)| *id).collect();
            if ids.is_empty() {
                return Err(TrainError::EmptySet { set: name.clone() });
            }
            sets.insert(name.clone(), ids);
        }
        Ok(Self { sets })
    }

    /// Those of the sets that `wanted` is true of.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let sets = self.sets.iter().filter(|(name, _)| wanted(name));
        Self { sets: sets.map(|(name, ids)| (name.clone(), ids.clone())).collect() }
    }

    /// Freezes everything in `model` but the trained sets.
    pub fn apply<M: Module>(&self, model: M) -> M {
        let group = ParamGroup::from_ids(self.sets.values().flatten().copied().collect());
        model.set_require_grad(false).set_require_grad_group(group, true)
    }

    /// The paths of all trained parameters of `model`.
    pub(crate) fn paths(&self, model: &impl Module) -> BTreeSet<String> {
        let trained = |id: &ParamId| self.sets.values().flatten().any(|own| own == id);
        parameter_paths(model).into_iter().filter(|(_, id)| trained(id)).map(|(path, _)| path).collect()
    }
}

/// Whether `path` lies in the vision encoder before the block `first`.
fn before(path: &str, first: usize) -> bool {
    match path.strip_prefix("vision.blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok()) {
        Some(block) => block < first,
        None => path.starts_with("vision.conv_stem."),
    }
}

/// Every parameter of `model` with its field path.
pub fn parameter_paths(model: &impl Module) -> Vec<(String, ParamId)> {
    let mut paths = Paths::default();
    model.visit(&mut paths);
    paths.found
}

#[derive(Default)]
struct Paths {
    path: FieldPath,
    found: Vec<(String, ParamId)>,
}

impl ModuleVisitor for Paths {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.name(), param.id));
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }
}
