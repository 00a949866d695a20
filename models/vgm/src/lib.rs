//! The Visual Guard Module (VGM) of HoliSafe (arXiv 2506.04704, v5).

mod config;
mod keys;
mod model;

pub use config::{VgmConfig, VgmConfigError};
pub use keys::{checkpoint_name, key_rules};
pub use model::Vgm;
