//! What an assembled model says about itself, and how a model folder becomes one.
//!
//! [`Family`] is what a new vision-language model implements; [`Loaded`] is one in memory.

mod error;
mod family;
mod folder;
mod guard;
mod loaded;
mod prompt;
mod published;
mod token_grid;

pub use error::FamilyError;
pub use family::{Family, Inputs, ModelOf};
pub use folder::{CONFIG_FILE, eos_tokens, image_settings, read_json};
pub use guard::GuardConfig;
pub use loaded::{LoadOptions, Loaded, check};
pub use prompt::expand;
pub use published::{Published, TensorIndex};
pub use token_grid::TokenGrid;
