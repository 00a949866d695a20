//! Joint training of a vision-language model and its Visual Guard Module (arXiv 2506.04704, section
//! 4): language-model loss on the answer + λ · cross-entropy of the image's class.

mod batch;
mod checkpoint;
mod error;
mod export;
mod feed;
mod ground;
mod learner;
mod log;
mod loss;
mod optimizer;
mod recipe;
mod timing;
mod trainable;

pub use batch::{Batch, Example, Turn};
pub use error::TrainError;
pub use feed::Scenes;
pub use learner::{Summary, run, run_on};
pub use loss::{Losses, joint_loss};
pub use optimizer::{GroupedAdamW, learning_rate};
pub use recipe::{LoraRecipe, Phase, Recipe, Stage};
pub use timing::time_steps;
pub use trainable::{Trainable, parameter_paths};
