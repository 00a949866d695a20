//! The joint loss.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safevlm_nn::ops::cross_entropy;
use safevlm_nn::{CausalLm, GuardHead, ImageTokens, Projector, Sequences, VisionEncoder, Vlm, vlm::ImageCountError};

use crate::batch::Batch;

/// The parts of the loss of one batch; each is a (weighted) mean, `[1]`.
#[derive(Debug)]
pub struct Losses {
    /// Cross-entropy of the answer tokens, in grounding of the words; none where no answers are trained.
    pub language: Option<Tensor<1>>,
    /// Cross-entropy of the classes; none without labels.
    pub guard: Option<Tensor<1>>,
    /// Guard logits of each image, `[images, classes]`.
    pub guard_logits: Option<Tensor<2>>,
}

impl Losses {
    /// `language + λ · guard`.
    pub fn joint(&self, lambda: f64) -> Option<Tensor<1>> {
        let guard = self.guard.clone().map(|guard| guard.mul_scalar(lambda));
        match (self.language.clone(), guard) {
            (Some(language), Some(guard)) => Some(language + guard),
            (language, guard) => language.or(guard),
        }
    }
}

/// Language-model cross-entropy on the answer tokens only, and the guard's cross-entropy on the
/// image's class, from one forward pass over features of the vision encoder.
///
/// `sequences` are those of the batch, with positions of their own where the family gives them such.
///
/// # Shapes
///
/// - features `[features of all images, width]`, in reading order; none without images
///
/// # Errors
///
/// If images and placeholders are not equally many.
pub fn joint_loss<V: VisionEncoder, P: Projector, L: CausalLm, G: GuardHead>(
    model: &Vlm<V, P, L, G>,
    batch: &Batch,
    sequences: &Sequences,
    features: Option<ImageTokens>,
    device: &Device,
) -> Result<Losses, ImageCountError> {
    let visual = features.map(|features| model.project(features));
    let output = model.forward(sequences, visual, None, device)?;
    let [rows, tokens, width] = output.hidden.dims();
    let language = (!batch.targets.is_empty()).then(|| {
        let states = output.hidden.reshape([rows * tokens, width]).select(0, indices(&batch.predicting, device));
        let surprise = surprise(model.language_model.logits(states), &batch.targets, device);
        let total: f32 = batch.weights.iter().sum();
        let shares: Vec<f32> = batch.weights.iter().map(|weight| weight / total).collect();
        let rows = shares.len();
        (surprise * Tensor::<1>::from_data(TensorData::new(shares, [rows]), device)).sum()
    });
    let guard = output.guard.clone().filter(|_| !batch.labels.is_empty()).map(|logits| {
        let labelled = logits.select(0, indices(&batch.labelled, device));
        surprise(labelled, &batch.labels, device).mean()
    });
    Ok(Losses { language, guard, guard_logits: output.guard })
}

/// Cross-entropy of each row of `logits` (`[rows, classes]`) at its target class, `[rows]`.
fn surprise(logits: Tensor<2>, targets: &[i32], device: &Device) -> Tensor<1> {
    if let Some(surprise) = cross_entropy(&logits, targets) {
        return surprise;
    }
    let picked = indices(targets, device).reshape([targets.len(), 1]);
    log_softmax(logits, 1).gather(1, picked).neg().reshape([targets.len()])
}

fn indices(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}
