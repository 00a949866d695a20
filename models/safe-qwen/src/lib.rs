//! SafeQwen2.5-VL: Qwen2.5-VL (arXiv 2502.13923) with a Visual Guard Module on the language model's states of
//! each image's visual tokens. Without the guard it is Qwen2.5-VL itself.

mod config;
mod keys;
mod model;
mod processor;
mod published;

pub use config::SafeQwenConfig;
pub use keys::{allow, key_map};
pub use model::SafeQwen;
pub use processor::{IMAGE_TOKEN, Processor};
pub use published::PUBLISHED;
