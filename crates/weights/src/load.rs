//! A checkpoint into a module: every tensor accounted for, one tensor in flight at a time.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use crate::error::WeightsError;
use crate::keys::{Allow, KeyMap};
use crate::tensors::TensorSource;

/// How many names an error lists of each kind.
const LISTED: usize = 5;

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Field paths that were loaded, in the module's order.
    pub applied: Vec<String>,
    /// Field paths that kept their initial value, as allowed.
    pub missing: Vec<String>,
    /// Tensors of the checkpoint that no field took, as allowed.
    pub unused: Vec<String>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tensors loaded, {} left as initialised, {} unused",
            self.applied.len(),
            self.missing.len(),
            self.unused.len()
        )
    }
}

/// Loads `source` into `module`, on the device and with the autodiff setting that each parameter
/// of `module` has.
///
/// `keys` renames every tensor of the checkpoint to a field path such as
/// `layers.0.self_attn.q_proj.weight`; the names of enum variants are not part of it. Parameters
/// become f32 whatever the checkpoint stores. Values are read when their parameter is reached, so
/// the peak is the module and one tensor; a module that is lazily initialised never allocates its
/// random initial values.
///
/// # Errors
/// When a tensor is missing or left over and `allow` does not name it, a shape differs, two
/// tensors claim one field, or the checkpoint cannot be read. The error lists what was found.
pub fn load_module<M: Module>(
    module: M,
    source: &dyn TensorSource,
    keys: &KeyMap,
    allow: &Allow,
) -> Result<(M, LoadReport), WeightsError> {
    let mut wanted = BTreeMap::new();
    for name in source.names() {
        if let Some(other) = wanted.insert(keys.apply(&name), name.clone()) {
            return Err(WeightsError::Mismatch(format!(
                "`{other}` and `{name}` of {} both belong to `{}`",
                source.path().display(),
                keys.apply(&name)
            )));
        }
    }
    let mut loader = Loader {
        source,
        allow,
        wanted,
        path: Vec::new(),
        report: LoadReport::default(),
        problems: Problems::default(),
        failed: None,
    };
    let module = module.map(&mut loader);
    loader.finish().map(|report| (module, report))
}

/// What does not fit, gathered so that one error tells all.
#[derive(Default)]
struct Problems {
    missing: Vec<String>,
    shapes: Vec<String>,
}

struct Loader<'a> {
    source: &'a dyn TensorSource,
    allow: &'a Allow,
    /// Field path to checkpoint name, of the tensors that no parameter has taken yet.
    wanted: BTreeMap<String, String>,
    path: Vec<String>,
    report: LoadReport,
    problems: Problems,
    /// The first error of reading; what follows is not read.
    failed: Option<WeightsError>,
}

impl Loader<'_> {
    /// The checkpoint name for the parameter at the current path, if it is there and fits.
    fn take(&mut self, shape: &[usize]) -> Option<String> {
        let path = self.path.join(".");
        let Some(name) = self.wanted.remove(&path) else {
            match self.allow.is_missing_allowed(&path) {
                true => self.report.missing.push(path),
                false => self.problems.missing.push(path),
            }
            return None;
        };
        let stored = self.source.info(&name).map(|info| info.shape);
        if stored.as_deref() != Some(shape) {
            let stored = stored.unwrap_or_default();
            let text = format!("`{path}` is {shape:?}, the checkpoint's `{name}` {stored:?}");
            self.problems.shapes.push(text);
            return None;
        }
        self.report.applied.push(path);
        Some(name)
    }

    fn read(&mut self, shape: &[usize]) -> Option<Vec<f32>> {
        let name = self.take(shape)?;
        // After the first problem the load cannot succeed, so nothing more is read.
        let hopeless = self.failed.is_some() || !self.problems.missing.is_empty() || !self.problems.shapes.is_empty();
        if hopeless {
            return None;
        }
        match self.source.read_f32(&name) {
            Ok(values) => Some(values),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    /// A parameter that is not floating-point: none of the zoo's checkpoints stores one.
    fn refuse(&mut self, kind: &str) {
        let path = self.path.join(".");
        match self.allow.is_missing_allowed(&path) {
            true => self.report.missing.push(path),
            false => self.problems.shapes.push(format!("`{path}` is {kind}")),
        }
    }

    fn finish(mut self) -> Result<LoadReport, WeightsError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (allowed, unused): (Vec<_>, Vec<_>) =
            self.wanted.into_values().partition(|name| self.allow.is_unused_allowed(name));
        self.report.unused = allowed;
        let Problems { missing, shapes } = &self.problems;
        let parts: Vec<String> =
            [("shape mismatch", shapes.as_slice()), ("missing", missing.as_slice()), ("unexpected", unused.as_slice())]
                .into_iter()
                .filter(|(_, items)| !items.is_empty())
                .map(|(what, items)| list(what, items))
                .collect();
        if parts.is_empty() {
            return Ok(self.report);
        }
        let path = self.source.path().display();
        Err(WeightsError::Mismatch(format!("{path}: {}", parts.join("; "))))
    }
}

fn list(what: &str, items: &[String]) -> String {
    let shown = items[..items.len().min(LISTED)].join(", ");
    let more = match items.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {what} ({shown}{more})", items.len())
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        if !is_variant(container) {
            self.path.push(name.to_string());
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        if !is_variant(container) {
            self.path.pop();
        }
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape().to_vec();
        let Some(values) = self.read(&shape) else {
            return param;
        };
        let data = TensorData::new(values, shape);
        let tensor = Tensor::from_data(data, (&param.lazy_device(), DType::F32));
        let id = param.id;
        param.transform_for_load(tensor, id)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.refuse("an integer parameter");
        param
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        self.refuse("a boolean parameter");
        param
    }
}

/// Checkpoints do not know the variants of our enums, so field paths leave them out.
pub(crate) fn is_variant(container: &str) -> bool {
    container.starts_with("Enum:")
}
