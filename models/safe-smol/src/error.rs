//! What can go wrong with a safe-smol folder or its prompt.

use safevlm_core::resize::ResizeError;
use safevlm_core::taxonomy::TaxonomyError;
use safevlm_efficientnet::ConfigError;
use safevlm_llama::LlamaConfigError;
use safevlm_text::TextError;
use safevlm_vgm::VgmConfigError;
use safevlm_weights::WeightsError;
use thiserror::Error;

/// A safe-smol folder that cannot be used, or a conversation that does not fit it.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what each variant means")]
pub enum SafeSmolError {
    #[error("config.json: `{key}` is missing or not {expected}: import the model again")]
    Key { key: &'static str, expected: &'static str },
    #[error(transparent)]
    Vision(#[from] ConfigError),
    #[error(transparent)]
    Llama(#[from] LlamaConfigError),
    #[error(transparent)]
    Guard(#[from] VgmConfigError),
    #[error(transparent)]
    Taxonomy(#[from] TaxonomyError),
    #[error(transparent)]
    Resize(#[from] ResizeError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{path}: cannot be written ({source}): free disk space, or set SAFEVLM_HOME to another folder")]
    Write { path: std::path::PathBuf, source: std::io::Error },
    #[error(transparent)]
    Device(#[from] safevlm_core::DeviceError),
    #[error("the tokenizer has no token for `{0}`: import the model again")]
    Token(&'static str),
}
