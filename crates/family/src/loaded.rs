//! A model folder into memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safevlm_core::{DeviceSpec, Taxonomy, host};
use safevlm_nn::CausalLm;
use safevlm_weights::{
    FloatDtype, HeldBlocks, LoadReport, PeftAdapter, SafetensorsDir, TensorSource, check_finite, check_module,
    load_module_with_blocks,
};
use serde_json::Value;

use crate::error::FamilyError;
use crate::family::{Family, ModelOf};

/// How weights are loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    /// The type that is computed in; f32 unless another is asked for.
    pub dtype: FloatDtype,
    /// A folder with a LoRA adapter in PEFT's format, which is merged into the weights.
    pub adapter: Option<PathBuf>,
    /// Whether all values are read first, to name the tensors that hold NaN or infinities.
    pub check: bool,
    /// Whether the guard begins anew, for training: the checkpoint's own is left where it is, if it has one.
    pub fresh_guard: bool,
}

/// A model of one family in memory.
#[derive(Debug)]
pub struct Loaded<F: Family> {
    /// The graph.
    pub model: ModelOf<F>,
    /// Its processor.
    pub family: F,
    /// Its sizes.
    pub config: F::Config,
    /// Which tensor of the checkpoint became which parameter.
    pub report: LoadReport,
    /// The type of the parameters, or the format of most values that are multiplied in blocks of few bits.
    pub weights: String,
}

impl<F: Family> Loaded<F> {
    /// Loads the model in the folder `dir`, whose parsed `config.json` is `config`, onto `device`. A CPU that computes
    /// in f32 and does not train multiplies quantized matrices as they are stored; elsewhere they are dequantised.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or a tensor missing, left over or of another shape.
    pub fn load(dir: &Path, config: &Value, options: &LoadOptions, device: &Device) -> Result<Self, FamilyError> {
        let config = F::config(config)?;
        let checkpoint = SafetensorsDir::open(dir)?;
        let fill = |source: &dyn TensorSource| fill::<F>(F::init(&config, device), source, options, device);
        let adapter = options.adapter.as_deref().map(PeftAdapter::open).transpose()?;
        let source = adapter.as_ref().map(|adapter| adapter.merge(&checkpoint)).transpose()?;
        // A tokenizer of many thousand tokens takes as long as the weights do.
        let (family, filled) = std::thread::scope(|scope| {
            let family = scope.spawn(|| F::open(dir, &config));
            let filled = fill(source.as_ref().map_or(&checkpoint, |merged| merged));
            (family.join(), filled)
        });
        let family = family.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        // An image placeholder needs no embedding: its visual tokens take its place.
        let ids = family.tokenizer().greatest_id(family.image_token()).map_or(0, |id| id as usize);
        let rows = F::vocab_size(&config);
        if ids >= rows {
            return Err(FamilyError::Vocabulary { ids, rows });
        }
        let (model, report, weights) = filled?;
        Ok(Self { model, family, config, report, weights })
    }

    /// The guard's labels; none for a model without a guard head.
    pub fn taxonomy(&self) -> Option<&Taxonomy> {
        F::guard(&self.config).map(|guard| &guard.taxonomy)
    }

    /// Number of token ids.
    pub fn vocabulary(&self) -> usize {
        F::vocab_size(&self.config)
    }

    /// Longest sequence, in tokens.
    pub fn context(&self) -> usize {
        F::context(&self.config)
    }
}

/// Loads `source` into `model`, and says in which type or format the weights are.
fn fill<F: Family>(
    mut model: ModelOf<F>,
    source: &dyn TensorSource,
    options: &LoadOptions,
    device: &Device,
) -> Result<(ModelOf<F>, LoadReport, String), FamilyError> {
    if options.check {
        check_finite(source)?;
    }
    let mut held = HeldBlocks::default();
    if options.dtype == FloatDtype::F32 && host::is_of(device) {
        model.language_model.matrices(&mut |_, mut matrix| {
            matrix.weight().param().into_iter().for_each(|param| held.want(param.id));
        });
    }
    let (keys, mut allow) = (F::key_map(), F::allow());
    let guard = options.fresh_guard.then(|| model.guard.take()).flatten();
    if options.fresh_guard {
        allow = allow.unused(r"(^|\.)img_safety_head\.");
    }
    let (mut model, report) = load_module_with_blocks(model, source, &keys, &allow, options.dtype, &mut held)?;
    model.guard = guard.or(model.guard);
    let mut values = BTreeMap::new();
    model.language_model.matrices(&mut |_, mut matrix| {
        let weight = matrix.weight();
        if let Some(blocks) = weight.param().and_then(|param| held.take(param.id)) {
            *values.entry(blocks.format().name()).or_insert(0) += blocks.rows() * blocks.columns();
            weight.hold(blocks);
        }
    });
    let most = values.into_iter().max_by_key(|(_, count)| *count);
    let weights = most.map_or_else(|| options.dtype.to_string(), |(format, _)| format.to_owned());
    Ok((model, report, weights))
}

/// Compares `source` with the graph that `config` describes, without reading or making a value.
///
/// # Errors
///
/// If no device can be used, or two tensors belong to one field.
pub fn check<F: Family>(config: &F::Config, source: &dyn TensorSource) -> Result<LoadReport, FamilyError> {
    // Parameters are lazy: any device serves that is compiled in and there.
    let (device, _) = DeviceSpec::Flex.open().or_else(|_| DeviceSpec::Auto.open())?;
    let model = F::init(config, &device);
    Ok(check_module(&model, source, &F::key_map())?)
}
