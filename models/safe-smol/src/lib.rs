//! safe-smol: EfficientNet-Lite0 → two-layer projector → SmolLM2-135M-Instruct, with a Visual Guard
//! Module on the language model's states of the 49 visual tokens.

mod config;
mod error;
mod import;
mod keys;
mod model;
mod processor;
mod trained;

pub use config::SafeSmolConfig;
pub use error::SafeSmolError;
pub use import::{Flavour, import, language_model_file};
pub use keys::{checkpoint_name, key_map};
pub use model::SafeSmol;
pub use processor::{IMAGE_TOKEN, Processor};
