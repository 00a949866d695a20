//! The families this build knows, as one enum.

use std::path::Path;

use burn::tensor::Device;
use safevlm_family::{CONFIG_FILE, Family, LoadOptions, Loaded};
use safevlm_safe_smol::Processor as SafeSmol;
use serde_json::Value;

use crate::error::Error;
use crate::text_only::TextOnly;

/// A loaded model of one family.
#[derive(Debug)]
pub(crate) enum AnyModel {
    SafeSmol(Box<Loaded<SafeSmol>>),
    TextOnly(Box<Loaded<TextOnly>>),
}

/// Runs `$body` with `$loaded`, the [`Loaded`] of whatever family `$model` is.
macro_rules! with_model {
    ($model:expr, $loaded:ident => $body:expr) => {
        match $model {
            $crate::loaded::AnyModel::SafeSmol($loaded) => $body,
            $crate::loaded::AnyModel::TextOnly($loaded) => $body,
        }
    };
}
pub(crate) use with_model;

impl AnyModel {
    /// Loads the folder's model onto `device`.
    pub(crate) fn load(dir: &Path, config: &Value, options: &LoadOptions, device: &Device) -> Result<Self, Error> {
        match config.get("model_type").and_then(Value::as_str) {
            Some(SafeSmol::MODEL_TYPE) => Ok(Self::SafeSmol(load(dir, config, options, device)?)),
            Some(TextOnly::MODEL_TYPE) => Ok(Self::TextOnly(load(dir, config, options, device)?)),
            other => {
                let found = other.unwrap_or("missing").to_owned();
                Err(Error::UnknownFamily { path: dir.join(CONFIG_FILE), found })
            }
        }
    }
}

fn load<F: Family>(
    dir: &Path,
    config: &Value,
    options: &LoadOptions,
    device: &Device,
) -> Result<Box<Loaded<F>>, Error> {
    Ok(Box::new(Loaded::load(dir, config, options, device)?))
}
