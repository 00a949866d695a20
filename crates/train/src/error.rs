//! What can go wrong in training.

use std::path::PathBuf;

use thiserror::Error;

/// A training error, as one sentence with a remedy.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what each variant means")]
pub enum TrainError {
    #[error("{path}: cannot be read ({source}): give the path of a recipe such as recipes/safe-smol.toml")]
    ReadRecipe { path: PathBuf, source: std::io::Error },
    #[error("{path}: is no valid recipe ({reason}): compare it with recipes/safe-smol.toml")]
    Recipe { path: PathBuf, reason: String },
    #[error(
        "`{given}` overrides nothing: write key=value with a key of the recipe, as in seed=1 or learning_rate.lora=1e-4"
    )]
    Override { given: String },
    #[error(
        "the recipe trains `{set}`, but the model has no such parameters: choose from vision, projector, guard, lora"
    )]
    EmptySet { set: String },
    #[error("{path}: cannot be used ({source}): remove its row or mend the picture")]
    Picture { path: PathBuf, source: safevlm_core::ImageError },
    #[error("{id}: {reason}")]
    Sample { id: String, reason: String },
    #[error(
        "the loss or its gradient is {value} at step {step}, of {samples}, with the largest gradients in {gradients}: lower the learning rates, or go on from the last checkpoint without these samples"
    )]
    NotFinite { step: usize, value: f64, samples: String, gradients: String },
    #[error("{path}: has no checkpoint: give the folder that `safevlm train` wrote")]
    NoRun { path: PathBuf },
    #[error("{path}: is no log of a run ({reason}): give the folder that `safevlm train` wrote")]
    Log { path: PathBuf, reason: String },
    #[error("{path}: cannot be written ({source}): free disk space or choose another output")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{path}: the checkpoint cannot be used ({reason}): remove it to begin again")]
    Checkpoint { path: PathBuf, reason: String },
    #[error("the checkpoint belongs to another recipe: change `output`, or remove {path}")]
    OtherRecipe { path: PathBuf },
    #[error("{base}: its `model_type` is {found}, and models with a vision encoder can be trained: {known}")]
    Family { base: String, found: String, known: String },
    #[error(
        "the vision encoder cannot be trained from block {block} on: only EfficientNet can be cut, leave `vision_from` out"
    )]
    Cut { block: usize },
    #[error(
        "no data has what grounding needs, the name of what a picture shows: use symbolic data, or leave the phase out"
    )]
    NoSubject,
    #[error("the adapters' target `{target}` is no linear layer of the language model: choose from {known}")]
    Target { target: String, known: String },
    #[error("the device failed while training ({0}): try `--device flex`")]
    Device(String),
    #[error("stopped after step {step}: give the same command to go on from there")]
    Stopped { step: usize },
    #[error(transparent)]
    Model(#[from] safevlm::Error),
    #[error(transparent)]
    Input(#[from] safevlm_family::FamilyError),
    #[error(transparent)]
    Weights(#[from] safevlm_weights::WeightsError),
    #[error(transparent)]
    Data(#[from] safevlm_data::DataError),
    #[error(transparent)]
    Images(#[from] safevlm_nn::vlm::ImageCountError),
}

impl TrainError {
    /// 2 for bad input or usage, 1 for a failure while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            TrainError::NotFinite { .. } | TrainError::Write { .. } | TrainError::Device(_) => 1,
            TrainError::Stopped { .. } => 1,
            TrainError::Model(error) => error.exit_code(),
            TrainError::Weights(error) if !error.is_bad_input() => 1,
            _ => 2,
        }
    }
}
