//! Samples to examples: what a family's tokenizer and template make of them.

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use safevlm_data::Combination;
use safevlm_family::{Family, FamilyError};

use crate::augment::Augment;
use crate::batch::{Example, Turn};
use crate::error::TrainError;
use crate::mix::Mix;
use crate::sample::Sample;

/// What answers count in the loss.
pub(crate) struct Answers<'a> {
    /// By their combination.
    pub(crate) weight: &'a dyn Fn(Option<Combination>) -> f64,
    /// How many times that the first token of each counts.
    pub(crate) first_token: f64,
}

/// Makes examples of numbered samples; the same number always gives the same examples.
pub(crate) struct Feed<'a, F> {
    pub(crate) mix: &'a Mix,
    pub(crate) family: &'a F,
    /// Ids that end an answer.
    pub(crate) ends: &'a [u32],
    pub(crate) augment: Option<&'a Augment>,
    pub(crate) seed: u64,
    /// Longest row, in tokens.
    pub(crate) tokens: usize,
}

impl<F: Family> Feed<'_, F> {
    /// The samples of those numbers, their pictures varied. They are made at once: to compose or decode a picture takes one
    /// core some hundredths of a second.
    pub(crate) fn samples(&self, numbers: &[usize]) -> Result<Vec<Sample>, TrainError> {
        let Self { mix, augment, seed, .. } = *self;
        let varied = |number: &usize| {
            let mut sample = mix.sample(*number)?;
            if let Some(augment) = augment {
                let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (*number as u64) << 16);
                sample.images.iter_mut().for_each(|image| *image = Arc::new(augment.apply(image, &mut rng)));
            }
            Ok(sample)
        };
        numbers.par_iter().map(varied).collect()
    }

    /// The examples of some samples. Without `answers`, and where no question is left of a sample, they end with the picture;
    /// samples without a class then have none.
    pub(crate) fn examples(
        &self,
        samples: impl IntoIterator<Item = usize>,
        answers: Option<&Answers<'_>>,
    ) -> Result<Vec<Example>, TrainError> {
        let numbers: Vec<usize> = samples.into_iter().collect();
        let mut examples = Vec::new();
        for sample in self.samples(&numbers)? {
            let of_sample = |error| match error {
                TrainError::Input(FamilyError::Answer) => error,
                TrainError::Input(error) => TrainError::Sample { id: sample.id.clone(), reason: error.to_string() },
                error => error,
            };
            examples.extend(self.of_sample(&sample, answers).map_err(of_sample)?);
        }
        Ok(examples)
    }

    /// All questions about the same pictures share them, as far as a row may be long.
    fn of_sample(&self, sample: &Sample, answers: Option<&Answers<'_>>) -> Result<Vec<Example>, TrainError> {
        let Some(Answers { weight, first_token }) = answers.filter(|_| !sample.exchanges.is_empty()) else {
            return Ok(self.picture(sample)?.into_iter().collect());
        };
        let mut examples: Vec<Example> = Vec::new();
        for exchange in &sample.exchanges {
            let conversation = exchange.conversation(&sample.images);
            if exchange.answer.trim().is_empty() {
                let reason = "an answer is empty, and an answer is what is learned: remove its row".to_owned();
                return Err(TrainError::Sample { id: sample.id.clone(), reason });
            }
            let (mut stem, mut answer) = self.family.answered(&conversation, &exchange.answer, self.ends)?;
            let question = stem.split_off(self.behind_images(&stem).unwrap_or(0));
            let room = self.tokens.saturating_sub(stem.len() + question.len());
            if room == 0 {
                let reason = format!(
                    "its question alone is longer than the {} tokens of a row: remove it, or raise max_tokens",
                    self.tokens
                );
                return Err(TrainError::Sample { id: sample.id.clone(), reason });
            }
            answer.truncate(room);
            let weight = weight(exchange.combination) as f32;
            let turn = Turn { question, answer, weight, first_token: *first_token as f32 };
            let fits = |example: &&mut Example| {
                let tokens = example.tokens() + turn.question.len() + turn.answer.len();
                !stem.is_empty() && example.stem == stem && tokens <= self.tokens
            };
            match examples.last_mut().filter(fits) {
                Some(example) => example.turns.push(turn),
                None => {
                    // A class counts once, however many rows its picture needs.
                    let label = sample.label.filter(|_| examples.is_empty());
                    examples.push(Example { stem, turns: vec![turn], label, images: conversation.images });
                }
            }
        }
        Ok(examples)
    }

    /// A picture with its class and without questions; none where there is no class to learn.
    fn picture(&self, sample: &Sample) -> Result<Option<Example>, TrainError> {
        let shown = sample.shown();
        let mut stem = self.family.prompt(&shown)?;
        let (Some(end), Some(_)) = (self.behind_images(&stem), sample.label) else { return Ok(None) };
        stem.truncate(end);
        Ok(Some(Example { stem, turns: vec![], label: sample.label, images: shown.images }))
    }

    /// Where the last visual token ends; none without any.
    fn behind_images(&self, ids: &[u32]) -> Option<usize> {
        ids.iter().rposition(|id| Some(*id) == self.family.image_token()).map(|last| last + 1)
    }
}
