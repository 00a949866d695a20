//! Gemma 3's language model and the projector that feeds it images, on Burn.

mod config;
mod keys;
mod model;
mod preset;
mod projector;

pub use config::{GemmaConfig, GemmaConfigError, LayerType};
pub use keys::{key_rules, projector_key_rules};
pub use model::{DecoderLayer, Gemma};
pub use preset::{PRESETS, Preset};
pub use projector::{GemmaProjector, GemmaProjectorConfig};
