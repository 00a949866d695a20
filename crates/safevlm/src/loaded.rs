//! The families this build knows, in one table.

use std::path::Path;

use burn::tensor::Device;
use safevlm_family::{Family, LoadOptions, Loaded, Published};
use safevlm_weights::{MemoryEstimate, SafetensorsDir, available_memory};
use serde_json::Value;

use crate::error::Error;
use crate::text_only::TextOnly;

/// A family of the table.
pub(crate) trait Known: Family {
    /// One of its models, as the enum of all families.
    fn any(loaded: Loaded<Self>) -> AnyModel;
}

/// Something to do with a family of which only the `model_type` is known.
pub(crate) trait WithFamily {
    /// What it gives.
    type Output;

    /// Does it.
    fn run<F: Known>(self) -> Result<Self::Output, Error>;
}

/// Writes what needs a list of all families. `$d` is a dollar sign, for the macro that it defines.
macro_rules! families {
    ($d:tt $($variant:ident: $family:ty;)*) => {
        /// A loaded model of one family.
        #[derive(Debug)]
        pub(crate) enum AnyModel {
            $($variant(Box<Loaded<$family>>),)*
        }

        $(impl Known for $family {
            fn any(loaded: Loaded<Self>) -> AnyModel {
                AnyModel::$variant(Box::new(loaded))
            }
        })*

        /// Runs `$body` with `$loaded`, the [`Loaded`] of whatever family `$model` is.
        macro_rules! with_model {
            ($d model:expr, $d loaded:ident => $d body:expr) => {
                match $d model {
                    $($crate::loaded::AnyModel::$variant($d loaded) => $d body,)*
                }
            };
        }

        /// Does `todo` with the family that `config`, the parsed JSON of the file `path`, belongs to.
        pub(crate) fn with_family<W: WithFamily>(path: &Path, config: &Value, todo: W) -> Result<W::Output, Error> {
            let found = config.get("model_type").and_then(Value::as_str).unwrap_or("missing");
            $(if <$family as Family>::MODEL_TYPES.contains(&found) {
                return todo.run::<$family>();
            })*
            Err(Error::UnknownFamily {
                path: path.to_owned(),
                found: found.to_owned(),
                known: [$(<$family as Family>::MODEL_TYPES[0]),*].join(", "),
            })
        }

        /// The published sizes of all families.
        pub(crate) fn published() -> Vec<&'static Published> {
            [$(<$family as Family>::PUBLISHED),*].into_iter().flatten().collect()
        }
    };
}

families! { $
    SafeSmol: safevlm_safe_smol::Processor;
    SafeLlava: safevlm_safe_llava::Processor;
    SafeQwen: safevlm_safe_qwen::Processor;
    SafeGem: safevlm_safe_gem::Processor;
    TextOnly: TextOnly;
}
pub(crate) use with_model;

/// Loads a model folder whose parsed `config.json` is `config`.
pub(crate) struct Load<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) config: &'a Value,
    pub(crate) options: &'a LoadOptions,
    /// Tokens for which there must be main memory.
    pub(crate) context: Option<usize>,
    pub(crate) device: &'a Device,
}

impl WithFamily for Load<'_> {
    type Output = AnyModel;

    fn run<F: Known>(self) -> Result<AnyModel, Error> {
        if let (Some(context), Some(available)) = (self.context, available_memory()) {
            let context = context.min(F::context(&F::config(self.config)?));
            MemoryEstimate::of(&SafetensorsDir::open(self.dir)?, Some(self.options.dtype), context)?
                .check(available)?;
        }
        Ok(F::any(Loaded::load(self.dir, self.config, self.options, self.device)?))
    }
}
