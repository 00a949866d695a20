//! The trained part as one safetensors file in half precision, under the checkpoint's names.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use safevlm_safe_smol::checkpoint_name;
use safevlm_weights::{FieldPath, SaveDtype, Tensors, save_tensors};

use crate::error::TrainError;
use crate::trainable::Trainable;

/// Writes every trained parameter of `model` to `path`. An adapter's `B` is multiplied by its scale,
/// so that `W + B · A` is the merged weight and no further number is needed.
pub(crate) fn export(path: &Path, model: &impl Module, trainable: &Trainable, scale: f64) -> Result<(), TrainError> {
    let ids = trainable.sets.values().flatten().copied().collect();
    let mut collect = Collect { ids, scale, path: FieldPath::default(), tensors: Tensors::new(), failed: None };
    model.visit(&mut collect);
    match collect.failed {
        Some(error) => Err(error),
        None => Ok(save_tensors(path, &collect.tensors, SaveDtype::F16, &BTreeMap::new())?),
    }
}

struct Collect {
    ids: Vec<burn::module::ParamId>,
    scale: f64,
    path: FieldPath,
    tensors: Tensors,
    failed: Option<TrainError>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.failed.is_some() || !self.ids.contains(&param.id) {
            return;
        }
        let field = self.path.name();
        let value = param.val();
        let value = if field.ends_with(".lora.b") { value.mul_scalar(self.scale) } else { value };
        let shape = value.dims().to_vec();
        let data = value.try_into_data().map_err(|e| e.to_string());
        let values = data.and_then(|d| d.try_into_vec::<f32>().map_err(|e| format!("{e:?}")));
        self.failed = match values {
            Ok(values) => self.tensors.insert(checkpoint_name(&field), shape, values).err().map(TrainError::from),
            Err(reason) => Some(TrainError::Device(reason)),
        };
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }
}
