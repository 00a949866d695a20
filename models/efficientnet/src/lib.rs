//! EfficientNet-Lite: convolutional vision encoders, small enough for a CPU.
//!
//! Source: Tan and Le, *EfficientNet* (arXiv 1905.11946), in the "Lite" form (no squeeze-excite,
//! ReLU6). Reference implementation: timm's `tf_efficientnet_lite0` .. `lite4`.

mod config;
mod keys;
mod model;
mod preprocess;

pub use config::{ConfigError, EfficientNetConfig, PRESETS, Preset, StageConfig};
pub use keys::{key_map, lite0_checkpoint, load_checkpoint};
pub use model::{BatchNorm, ConvNorm, EfficientNet, InvertedResidual};
pub use preprocess::{Framing, Preprocess};
