//! Joint training of a vision-language model and its Visual Guard Module (arXiv 2506.04704, section
//! 4): language-model loss on the answer + λ · cross-entropy of the image's class.

mod augment;
mod base;
mod batch;
mod checkpoint;
#[cfg(feature = "dashboard")]
mod dashboard;
mod error;
mod export;
mod feed;
mod ground;
mod learner;
mod log;
mod loss;
mod mix;
mod norm;
mod optimizer;
mod peers;
mod plan;
mod plot;
mod recipe;
mod sample;
mod show;
mod sources;
mod step;
mod timing;
mod trainable;
mod trainee;
mod validation;

pub use augment::Augment;
pub use batch::{Batch, Example, Turn};
pub use checkpoint::recipe_of;
pub use error::TrainError;
pub use learner::{Summary, run, run_on, run_together};
pub use loss::{Losses, joint_loss};
pub use mix::Mix;
pub use norm::global_norm;
pub use optimizer::{GroupedAdamW, learning_rate};
pub use peers::Peers;
pub use plan::{Plan, plan};
pub use plot::plot;
pub use recipe::{CardRecipe, DataKind, DataRecipe, GuardRecipe, LoraRecipe, Phase, Recipe, Stage, Validation};
pub use sample::{Exchange, Sample, Source};
pub use show::Show;
pub use sources::{Rows, Symbolic, open};
pub use timing::time_steps;
pub use trainable::{Trainable, parameter_paths};
pub use trainee::{CutEncoder, Trainee};
