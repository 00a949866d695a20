//! CLIP vision encoders on Burn, as LLaVA uses them.

mod config;
mod features;
mod keys;
mod model;
mod processor;

pub use config::{ClipConfigError, ClipVisionConfig, PRESETS, Preset};
pub use features::FeatureSelection;
pub use keys::{IGNORED, PREFIXES, key_rules};
pub use model::{ClipEmbeddings, ClipVision};
pub use processor::ClipProcessor;
