//! Qwen2 language models (Qwen2.5, and the text part of Qwen2.5-VL) on Burn.

mod config;
mod keys;
mod model;
mod positions;

pub use config::{PRESETS, Preset, QwenConfig};
pub use keys::{IGNORED, key_rules};
pub use model::Qwen;
pub use positions::{ImageTokensError, image_positions};
