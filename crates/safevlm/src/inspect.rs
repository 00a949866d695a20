//! What a model consists of, before anything of it is loaded.

use std::path::Path;

use safevlm_core::fields::Fields;
use safevlm_family::{CONFIG_FILE, FamilyError, check, read_json};
use safevlm_weights::{
    Allow, FloatDtype, LoadReport, MemoryEstimate, SafetensorsDir, TensorSource, check_finite, refuse_misfits,
};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::loaded::{Known, WithFamily, published, with_family};

/// A model folder, or a published size that is not at hand.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The folder, or the name of the published size.
    pub model: String,
    /// `model_type` of its `config.json`.
    pub family: String,
    /// Longest sequence, in tokens.
    pub context: usize,
    /// Number of values of each part.
    pub parameters: Parameters,
    /// Every parameter and every tensor of the checkpoint.
    pub tensors: LoadReport,
    /// Why the checkpoint does not fit the model; none if it does.
    pub misfit: Option<String>,
    /// What it needs in memory; none if the checkpoint has no language model to tell it from.
    pub memory: Option<MemoryEstimate>,
}

/// Numbers of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// The vision encoder.
    pub vision: usize,
    /// The projector.
    pub projector: usize,
    /// The language model.
    pub language_model: usize,
    /// The guard head; none in a base model.
    pub guard: Option<usize>,
    /// All of them.
    pub total: usize,
}

impl Parameters {
    /// Counts every parameter of the graph, whether the checkpoint has it or not.
    fn of(report: &LoadReport, guard: bool) -> Self {
        let applied = report.applied.iter().map(|tensor| (&tensor.field, &tensor.shape));
        let rest = report.missing.iter().chain(report.misshapen.iter().map(|pair| &pair.parameter));
        let fields = applied.chain(rest.map(|field| (&field.field, &field.shape)));
        // A batch norm's running statistics are no parameters.
        let fields: Vec<_> = fields.filter(|(field, _)| !field.contains(".running_")).collect();
        let count = |part: &str| {
            let of_part = fields.iter().filter(|(field, _)| field.starts_with(part));
            of_part.map(|(_, shape)| shape.iter().product::<usize>()).sum()
        };
        Self {
            vision: count("vision."),
            projector: count("projector."),
            language_model: count("language_model."),
            guard: guard.then(|| count("guard.")),
            total: count(""),
        }
    }
}

/// How a folder is inspected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InspectOptions {
    /// The type that the model would be computed in; f32 unless another is asked for.
    pub dtype: FloatDtype,
    /// Tokens that the memory estimate counts; those of the model's whole context unless given.
    pub context: Option<usize>,
    /// Whether all values are read, to find NaN and infinities.
    pub check: bool,
}

/// Compares the checkpoint in the folder `dir` with the graph that its `config.json` describes; only headers
/// are read, and no parameter is made.
///
/// # Errors
///
/// If the folder is no model this build knows, or a file is damaged. A checkpoint that does not fit is no error
/// here: the report says what does not.
pub fn inspect(dir: &Path, options: &InspectOptions) -> Result<Inspection, Error> {
    let config = read_json(&dir.join(CONFIG_FILE))?;
    let checkpoint = SafetensorsDir::open(dir)?;
    if options.check {
        check_finite(&checkpoint)?;
    }
    let name = dir.display().to_string();
    with_family(&dir.join(CONFIG_FILE), &config, Compare { name, config: &config, source: &checkpoint, options })
}

/// The same for a published size, such as `safe-llava-7b`, against the list of its tensors.
///
/// # Errors
///
/// If no published size has that name.
pub fn inspect_published(name: &str, options: &InspectOptions) -> Result<Inspection, Error> {
    let all = published();
    let Some(size) = all.iter().find(|size| size.name == name) else {
        let names = all.iter().map(|size| size.name).collect::<Vec<_>>().join(", ");
        return Err(Error::UnknownPreset { name: name.to_owned(), names });
    };
    let (config, index) = (size.config(), size.index()?);
    let compare = Compare { name: name.to_owned(), config: &config, source: &index, options };
    with_family(Path::new(CONFIG_FILE), &config, compare)
}

/// The sizes that [`inspect_published`] knows.
pub fn published_names() -> Vec<&'static str> {
    published().iter().map(|size| size.name).collect()
}

struct Compare<'a> {
    name: String,
    config: &'a Value,
    source: &'a dyn TensorSource,
    options: &'a InspectOptions,
}

impl WithFamily for Compare<'_> {
    type Output = Inspection;

    fn run<F: Known>(self) -> Result<Inspection, Error> {
        // Every other reader of config.json would find its keys missing.
        Fields::new(CONFIG_FILE, self.config).map_err(FamilyError::from)?;
        let config = F::config(self.config)?;
        let tensors = check::<F>(&config, self.source)?;
        let parameters = Parameters::of(&tensors, F::guard(&config).is_some());
        let context = self.options.context.unwrap_or_else(|| F::context(&config));
        Ok(Inspection {
            model: self.name,
            family: F::MODEL_TYPES[0].to_owned(),
            context: F::context(&config),
            parameters,
            misfit: misfit(&tensors, &F::allow()),
            tensors,
            memory: MemoryEstimate::of(self.source, Some(self.options.dtype), context).ok(),
        })
    }
}

fn misfit(report: &LoadReport, allow: &Allow) -> Option<String> {
    refuse_misfits(report, allow).err().map(|error| error.to_string())
}
