//! SafeGem: SigLIP → Gemma 3's projector → Gemma 3, with a Visual Guard Module on the visual tokens. Gemma 3
//! itself is the same without the guard.

mod config;
mod keys;
mod model;
mod processor;
mod published;

pub use config::SafeGemConfig;
pub use keys::{allow, key_map};
pub use model::SafeGem;
pub use processor::{END_OF_IMAGE, IMAGE_TOKEN, Processor, START_OF_IMAGE};
pub use published::PUBLISHED;
