//! What can go wrong when safe-smol is put together.

use safevlm_efficientnet::ConfigError;
use safevlm_weights::WeightsError;
use thiserror::Error;

/// A safe-smol folder that cannot be made.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what each variant means")]
pub enum SafeSmolError {
    #[error("the language model's config has no `{key}`: fetch its file again")]
    Key { key: &'static str },
    #[error(transparent)]
    Vision(#[from] ConfigError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{path}: cannot be written ({source}): free disk space, or set SAFEVLM_HOME to another folder")]
    Write { path: std::path::PathBuf, source: std::io::Error },
    #[error("the adapter in this build cannot be used ({0}): build it from a clean checkout")]
    Adapter(String),
    #[error(transparent)]
    Device(#[from] safevlm_core::DeviceError),
}
