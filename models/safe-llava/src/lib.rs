//! SafeLLaVA: CLIP ViT-L/14-336 → two-layer projector → Vicuna (Llama), with a Visual Guard Module on
//! the language model's states of the 576 visual tokens; LLaVA-1.5 where there is no guard.

mod config;
mod keys;
mod model;
mod processor;
mod published;

pub use config::{Layout, MODEL_TYPES, SafeLlavaConfig};
pub use keys::{IGNORED, key_map};
pub use model::SafeLlava;
pub use processor::{IMAGE_TOKEN, Processor};
pub use published::PUBLISHED;
