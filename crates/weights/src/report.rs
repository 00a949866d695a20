//! What a load did, or would do, tensor by tensor.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::tensors::StoredDtype;

/// A parameter of the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleField {
    /// Its path, such as `layers.0.self_attn.q_proj.weight`.
    pub field: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A tensor of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its stored type.
    pub stored: StoredDtype,
}

/// A parameter and the tensor that it takes its values from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppliedTensor {
    /// The parameter's path.
    pub field: String,
    /// The tensor's name in the checkpoint.
    pub name: String,
    /// The shape of both.
    pub shape: Vec<usize>,
    /// The stored type.
    pub stored: StoredDtype,
}

/// A parameter and the tensor that should be its own, but has another shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MisshapenTensor {
    /// The parameter.
    pub parameter: ModuleField,
    /// The tensor.
    pub tensor: StoredTensor,
}

/// Every parameter of a module and every tensor of a checkpoint, each in one of four lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// The checkpoint's file or folder.
    pub checkpoint: PathBuf,
    /// Parameters and where their values come from, in the module's order.
    pub applied: Vec<AppliedTensor>,
    /// Parameters that keep their initial value.
    pub missing: Vec<ModuleField>,
    /// Tensors of the checkpoint that no parameter takes.
    pub unused: Vec<StoredTensor>,
    /// Pairs whose shapes differ; a load with any of them fails.
    pub misshapen: Vec<MisshapenTensor>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, missing, unused, misshapen, .. } = self;
        let (applied, missing, unused) = (applied.len(), missing.len(), unused.len());
        write!(f, "{applied} tensors loaded, {missing} left as initialised, {unused} unused")?;
        match misshapen.len() {
            0 => Ok(()),
            count => write!(f, ", {count} of another shape"),
        }
    }
}
