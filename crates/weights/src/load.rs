//! A checkpoint into a module: every tensor accounted for, one tensor in flight at a time.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use half::bf16;
use safevlm_kernels::quant::QuantizedMatrix;

use crate::dtype::{FloatDtype, to_f16};
use crate::error::WeightsError;
use crate::field_path::FieldPath;
use crate::keys::{Allow, KeyMap};
use crate::report::{AppliedTensor, LoadReport, MisshapenTensor, ModuleField, StoredTensor};
use crate::tensors::{TensorInfo, TensorSource};

/// How many names an error lists of each kind.
const LISTED: usize = 5;

/// Loads `source` into `module` as f32, whatever the checkpoint stores: [`load_module_as`] with
/// [`FloatDtype::F32`].
///
/// # Errors
/// As [`load_module_as`].
pub fn load_module<M: Module>(
    module: M,
    source: &dyn TensorSource,
    keys: &KeyMap,
    allow: &Allow,
) -> Result<(M, LoadReport), WeightsError> {
    load_module_as(module, source, keys, allow, FloatDtype::F32)
}

/// Loads `source` into `module`, on the device and with the autodiff setting that each parameter
/// of `module` has, as parameters of `dtype`.
///
/// `keys` renames every tensor of the checkpoint to a field path such as
/// `layers.0.self_attn.q_proj.weight`; the names of enum variants are not part of it. Nothing is
/// read before names and shapes have been compared. Values are read when their parameter is
/// reached and converted in pieces, so the peak is the loaded module and a small buffer, on another
/// device than the processor and one tensor; a module that is lazily initialised never allocates
/// its random initial values.
///
/// All parameters get `dtype`, since Burn computes with no two types at once: what a module makes
/// itself (rotary tables, masks, caches) must have it too. The caller decides:
/// [`FloatDtype::as_stored`] suits GPUs, f32 suits `flex`.
///
/// # Errors
/// When a tensor is missing or left over and `allow` does not name it, a shape differs, two
/// tensors claim one field, a value is beyond the range of `dtype`, or the checkpoint cannot be
/// read. The error lists what was found.
pub fn load_module_as<M: Module>(
    module: M,
    source: &dyn TensorSource,
    keys: &KeyMap,
    allow: &Allow,
    dtype: FloatDtype,
) -> Result<(M, LoadReport), WeightsError> {
    load_module_with_blocks(module, source, keys, allow, dtype, &mut HeldBlocks::default())
}

/// [`load_module_as`], except that parameters which `held` wants and `source` stores in blocks stay as they are,
/// lazy: their blocks are put into `held`, and the caller gives them to what the parameters belong to.
///
/// # Errors
/// As [`load_module_as`].
pub fn load_module_with_blocks<M: Module>(
    module: M,
    source: &dyn TensorSource,
    keys: &KeyMap,
    allow: &Allow,
    dtype: FloatDtype,
    held: &mut HeldBlocks,
) -> Result<(M, LoadReport), WeightsError> {
    let report = check_module(&module, source, keys)?;
    refuse_misfits(&report, allow)?;
    let names = report.applied.iter().map(|applied| (applied.field.clone(), applied.name.clone())).collect();
    let mut loader = Loader { source, dtype, names, held, path: FieldPath::default(), failed: None };
    let module = module.map(&mut loader);
    match loader.failed {
        Some(error) => Err(error),
        None => Ok((module, report)),
    }
}

/// Matrices that are multiplied as they are stored, instead of becoming parameters.
#[derive(Debug, Default)]
pub struct HeldBlocks {
    wanted: HashSet<ParamId>,
    found: HashMap<ParamId, QuantizedMatrix>,
}

impl HeldBlocks {
    /// The parameter `id` may be replaced by blocks.
    pub fn want(&mut self, id: ParamId) {
        self.wanted.insert(id);
    }

    /// Takes the blocks in place of the parameter `id`; none if it was loaded.
    pub fn take(&mut self, id: ParamId) -> Option<QuantizedMatrix> {
        self.found.remove(&id)
    }
}

/// What [`load_module`] would find, without reading a value or making a parameter.
///
/// # Errors
/// When two tensors of the checkpoint belong to one field; everything else is in the report.
pub fn check_module<M: Module>(
    module: &M,
    source: &dyn TensorSource,
    keys: &KeyMap,
) -> Result<LoadReport, WeightsError> {
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
    let report = LoadReport { checkpoint: source.path().to_path_buf(), ..LoadReport::default() };
    let mut comparison = Comparison { source, wanted, path: FieldPath::default(), report };
    module.visit(&mut comparison);
    let Comparison { wanted, mut report, .. } = comparison;
    report.unused = wanted.into_values().filter_map(|name| stored(source, name)).collect();
    Ok(report)
}

/// Reads every value of `source`, and refuses NaN and infinities.
///
/// # Errors
/// [`WeightsError::NotFinite`], with the tensors that hold any, or when the checkpoint cannot be read.
pub fn check_finite(source: &dyn TensorSource) -> Result<(), WeightsError> {
    let mut bad = Vec::new();
    for name in source.names() {
        let mut finite = true;
        source.read_pieces(&name, &mut |piece| {
            finite &= piece.iter().all(|value| value.is_finite());
            Ok(())
        })?;
        if !finite {
            bad.push(name);
        }
    }
    match bad.is_empty() {
        true => Ok(()),
        false => Err(WeightsError::NotFinite { path: source.path().to_path_buf(), tensors: list("tensors", &bad) }),
    }
}

fn stored(source: &dyn TensorSource, name: String) -> Option<StoredTensor> {
    let TensorInfo { shape, dtype } = source.info(&name)?;
    Some(StoredTensor { name, shape, stored: dtype })
}

/// One error for everything in `report` that does not fit and that `allow` does not name.
///
/// # Errors
/// When a tensor is missing or left over and `allow` does not name it, or a shape differs.
pub fn refuse_misfits(report: &LoadReport, allow: &Allow) -> Result<(), WeightsError> {
    let shapes = report.misshapen.iter().map(|MisshapenTensor { parameter, tensor }| {
        let (field, name) = (&parameter.field, &tensor.name);
        format!("`{field}` is {:?}, the checkpoint's `{name}` {:?}", parameter.shape, tensor.shape)
    });
    let missing = report.missing.iter().map(|field| &field.field).filter(|field| !allow.is_missing_allowed(field));
    let unused = report.unused.iter().map(|tensor| &tensor.name).filter(|name| !allow.is_unused_allowed(name));
    let parts: Vec<String> = [
        ("shape mismatch", shapes.collect::<Vec<_>>()),
        ("missing", missing.cloned().collect()),
        ("unexpected", unused.cloned().collect()),
    ]
    .into_iter()
    .filter(|(_, items)| !items.is_empty())
    .map(|(what, items)| list(what, &items))
    .collect();
    match parts.is_empty() {
        true => Ok(()),
        false => Err(WeightsError::Mismatch(format!("{}: {}", report.checkpoint.display(), parts.join("; ")))),
    }
}

/// `items` with their number, the first few by name.
pub(crate) fn list(what: &str, items: &[String]) -> String {
    let shown = items[..items.len().min(LISTED)].join(", ");
    let more = match items.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {what} ({shown}{more})", items.len())
}

/// Compares names and shapes.
struct Comparison<'a> {
    source: &'a dyn TensorSource,
    /// Field path to checkpoint name, of the tensors that no parameter has taken yet.
    wanted: BTreeMap<String, String>,
    path: FieldPath,
    report: LoadReport,
}

impl Comparison<'_> {
    fn field(&self, shape: Vec<usize>) -> ModuleField {
        ModuleField { field: self.path.name(), shape }
    }
}

impl ModuleVisitor for Comparison<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = self.field(param.lazy_shape().to_vec());
        let tensor = self.wanted.remove(&parameter.field).and_then(|name| stored(self.source, name));
        match tensor {
            None => self.report.missing.push(parameter),
            Some(tensor) if tensor.shape != parameter.shape => {
                self.report.misshapen.push(MisshapenTensor { parameter, tensor });
            }
            Some(StoredTensor { name, shape, stored }) => {
                self.report.applied.push(AppliedTensor { field: parameter.field, name, shape, stored });
            }
        }
    }

    // Parameters that are not floating-point: none of the zoo's checkpoints stores one.

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.report.missing.push(self.field(param.lazy_shape().to_vec()));
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.report.missing.push(self.field(param.lazy_shape().to_vec()));
    }
}

/// Reads what the comparison found to fit.
struct Loader<'a> {
    source: &'a dyn TensorSource,
    dtype: FloatDtype,
    /// Field path to checkpoint name.
    names: BTreeMap<String, String>,
    held: &'a mut HeldBlocks,
    path: FieldPath,
    /// The first error of reading; what follows is not read.
    failed: Option<WeightsError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = self.names.get(&self.path.name()).filter(|_| self.failed.is_none()) else {
            return param;
        };
        if self.held.wanted.contains(&param.id) {
            match self.source.read_blocks(name) {
                Ok(None) => {}
                Ok(Some(blocks)) => {
                    self.held.found.insert(param.id, blocks);
                    return param;
                }
                Err(error) => {
                    self.failed = Some(error);
                    return param;
                }
            }
        }
        let data = match read(self.source, name, param.lazy_shape().to_vec(), self.dtype) {
            Ok(data) => data,
            Err(error) => {
                self.failed = Some(error);
                return param;
            }
        };
        let tensor = Tensor::from_data(data, (&param.lazy_device(), self.dtype.burn()));
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

/// The values of the tensor `name` as `dtype`, with no whole copy in another type beside them.
fn read(
    source: &dyn TensorSource,
    name: &str,
    shape: Vec<usize>,
    dtype: FloatDtype,
) -> Result<TensorData, WeightsError> {
    let count = shape.iter().product();
    match dtype {
        FloatDtype::F32 => Ok(TensorData::new(source.read_f32(name)?, shape)),
        FloatDtype::BF16 => {
            let mut values = Vec::with_capacity(count);
            source.read_pieces(name, &mut |piece| {
                values.extend(piece.iter().map(|value| bf16::from_f32(*value)));
                Ok(())
            })?;
            Ok(TensorData::new(values, shape))
        }
        FloatDtype::F16 => {
            let mut values = Vec::with_capacity(count);
            source.read_pieces(name, &mut |piece| {
                for value in piece {
                    values.push(to_f16(*value).ok_or_else(|| {
                        let reason = format!("`{name}` holds {value}, which f16 cannot hold: choose bf16 or f32");
                        WeightsError::unsupported(source.path(), reason)
                    })?);
                }
                Ok(())
            })?;
            Ok(TensorData::new(values, shape))
        }
    }
}
