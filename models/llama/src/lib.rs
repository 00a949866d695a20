//! Llama-architecture language models (Llama, SmolLM2, Vicuna) on Burn.

mod config;
mod keys;
mod model;

pub use config::{LlamaConfig, LlamaConfigError};
pub use keys::{IGNORED, key_rules};
pub use model::Llama;
pub use safevlm_nn::DecoderLayer;
