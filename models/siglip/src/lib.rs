//! SigLIP vision encoders on Burn, as Gemma 3 uses them.

mod config;
mod keys;
mod model;
mod pan_and_scan;
mod processor;

pub use config::{PRESETS, Preset, SiglipConfigError, SiglipVisionConfig};
pub use keys::{IGNORED, PREFIXES, key_rules};
pub use model::{SiglipEmbeddings, SiglipVision};
pub use pan_and_scan::PanAndScan;
pub use processor::SiglipProcessor;
