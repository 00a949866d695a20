//! The Visual Guard Module (VGM) of HoliSafe (arXiv 2506.04704, v5).

mod config;
mod model;

pub use config::{VgmConfig, VgmConfigError};
pub use model::Vgm;
