//! A module's parameters, out of it: into a safetensors file or into memory.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::error::WeightsError;
use crate::field_path::FieldPath;
use crate::save::{SafetensorsWriter, SaveDtype};
use crate::tensors::Tensors;

/// Writes the floating-point parameters of `module` to the safetensors file `path`, without a
/// second copy of the module. `name` gives the name in the file for a field path, or `None` to
/// leave the parameter out.
///
/// # Errors
/// As [`SafetensorsWriter`], and when the device cannot give its values back.
pub fn save_module<M: Module>(
    path: &Path,
    module: &M,
    dtype: SaveDtype,
    metadata: &BTreeMap<String, String>,
    name: &dyn Fn(&str) -> Option<String>,
) -> Result<(), WeightsError> {
    let mut tensors = Vec::new();
    visit(module, name, &mut |name, param: &dyn AnyParam| {
        tensors.push((name, param.shape()));
        Ok(())
    })?;
    let mut writer = SafetensorsWriter::create(path, &tensors, dtype, metadata)?;
    visit(module, name, &mut |name, param: &dyn AnyParam| {
        let values = param.values(&name)?;
        writer.write(&name, &values)
    })?;
    writer.finish()
}

/// Copies the floating-point parameters of `module`, by field path.
///
/// # Errors
/// When the device cannot give the values back.
pub fn collect_module<M: Module>(module: &M) -> Result<Tensors, WeightsError> {
    let mut tensors = Tensors::new();
    let all = |path: &str| Some(path.to_string());
    visit(module, &all, &mut |name, param: &dyn AnyParam| {
        let values = param.values(&name)?;
        tensors.insert(name, param.shape(), values)
    })?;
    Ok(tensors)
}

type Take<'a> = dyn FnMut(String, &dyn AnyParam) -> Result<(), WeightsError> + 'a;

fn visit<M: Module>(
    module: &M,
    name: &dyn Fn(&str) -> Option<String>,
    take: &mut Take<'_>,
) -> Result<(), WeightsError> {
    let mut visitor = Visitor { path: FieldPath::default(), name, take, result: Ok(()) };
    module.visit(&mut visitor);
    visitor.result
}

/// A floating-point parameter of any rank.
trait AnyParam {
    fn shape(&self) -> Vec<usize>;
    fn values(&self, name: &str) -> Result<Vec<f32>, WeightsError>;
}

impl<const D: usize> AnyParam for Param<Tensor<D>> {
    fn shape(&self) -> Vec<usize> {
        self.lazy_shape().to_vec()
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let failed = |reason: String| WeightsError::Mismatch(format!("`{name}` cannot be read back: {reason}"));
        self.transform_for_save()
            .val()
            .try_into_data()
            .map_err(|error| failed(format!("{error:?}")))?
            .convert::<f32>()
            .try_into_vec::<f32>()
            .map_err(|error| failed(format!("{error:?}")))
    }
}

struct Visitor<'a, 'b> {
    path: FieldPath,
    name: &'a dyn Fn(&str) -> Option<String>,
    take: &'a mut Take<'b>,
    result: Result<(), WeightsError>,
}

impl ModuleVisitor for Visitor<'_, '_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.result.is_ok()
            && let Some(name) = (self.name)(&self.path.name())
        {
            self.result = (self.take)(name, param);
        }
    }
}
