//! The loss on other data, without learning.

use burn::tensor::Device;
use safevlm_family::{Family, ModelOf};
use safevlm_nn::VisionEncoder;

use crate::batch::{Batch, Example};
use crate::checkpoint::Progress;
use crate::error::TrainError;
use crate::feed::{Answers, Feed};
use crate::log::Sums;
use crate::loss::joint_loss;
use crate::optimizer::read;
use crate::recipe::{Recipe, Validation};

/// Losses and accuracy over the first samples of `feed`, every answer token and every class counting the same, `rows` of them
/// at once. `model` is one without gradients, on `device`.
pub(crate) fn validate<F: Family>(
    model: &ModelOf<F>,
    recipe: &Recipe,
    validation: &Validation,
    feed: &Feed<'_, F>,
    rows: usize,
    device: &Device,
) -> Result<Sums, TrainError> {
    let answers = Answers { weight: &|_| 1.0, first_token: 1.0 };
    let mut examples = feed.examples(0..validation.samples, Some(&answers))?;
    examples.sort_by_key(Example::tokens);
    let (mut sums, mut language, mut guard) = (Sums::default(), (0.0, 0.0), (0.0, 0.0));
    for part in examples.chunks(rows) {
        let batch = Batch::new(part, feed.family.image_token(), 0);
        let images: Vec<_> = part.iter().flat_map(|example| &example.images).map(AsRef::as_ref).collect();
        let inputs = feed.family.inputs(batch.sequences.clone(), &images, device)?;
        let features = inputs.pixels.map(|pixels| model.vision.encode(pixels));
        let losses = joint_loss(model, &batch, &inputs.sequences, features, device)?;
        sums.count(losses.guard_logits.as_ref(), &batch.labelled, &batch.labels)?;
        let counts = [f64::from(batch.weights.iter().sum::<f32>()), batch.labels.len() as f64];
        for ((sum, loss), count) in
            [(&mut language, losses.language), (&mut guard, losses.guard)].into_iter().zip(counts)
        {
            if let Some(loss) = loss {
                sum.0 += read(loss)? * count;
                sum.1 += count;
            }
        }
    }
    let mean = |(sum, count): (f64, f64)| (count > 0.0).then(|| sum / count);
    (sums.language, sums.guard) = (mean(language), mean(guard));
    sums.loss = sums.language.unwrap_or(0.0) + recipe.safety_loss_lambda * sums.guard.unwrap_or(0.0);
    Ok(sums)
}

impl Progress {
    /// Takes note of a measured loss; whether the run should end.
    pub(crate) fn measured(&mut self, loss: f64, patience: Option<usize>) -> bool {
        match self.best.is_none_or(|best| loss < best) {
            true => (self.best, self.waited) = (Some(loss), 0),
            false => self.waited += 1,
        }
        self.ended = patience.is_some_and(|patience| self.waited >= patience);
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_when_its_patience_does() {
        let mut progress = Progress::default();
        let ends = [3.0, 2.0, 2.5, f64::NAN, 1.9, 2.0, 1.9].map(|loss| progress.measured(loss, Some(2)));
        assert_eq!(ends, [false, false, false, true, false, false, true]);
        assert_eq!((progress.best, progress.waited), (Some(1.9), 2));
        assert!(!Progress::default().measured(1.0, None));
    }
}
