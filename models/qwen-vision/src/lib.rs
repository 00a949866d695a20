//! The vision encoder of Qwen2.5-VL (arXiv 2502.13923) on Burn: any image size, attention in windows, and
//! the image processor that makes its patches.

mod config;
mod keys;
mod layout;
mod model;
mod processor;
mod smart_resize;

pub use config::{PRESETS, Preset, QwenVisionConfig};
pub use keys::key_rules;
pub use layout::{GridError, PatchLayout, Run};
pub use model::{PatchEmbed, PatchMerger, PatchProjection, QwenVision, VisionAttention, VisionBlock};
pub use processor::{MAX_PIXELS, Patches, QwenImageError, QwenImageProcessor};
pub use smart_resize::{MAX_ASPECT, PixelRange, smart_resize};
