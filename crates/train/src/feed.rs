//! Scenes to examples.

use std::ops::Range;
use std::sync::Arc;

use safevlm_core::Conversation;
use safevlm_data::{Combination, DataError, PictureSets, Scene};
use safevlm_family::Family;
use safevlm_safe_smol::{Processor, SafeSmolConfig};

use crate::batch::{Example, Turn};
use crate::error::TrainError;

/// Where scenes come from: the composer, or another source of pictures with questions and answers.
pub trait Scenes {
    /// The scene of `seed`; the same seed always gives the same scene.
    ///
    /// # Errors
    ///
    /// If there is no such scene.
    fn scene(&self, seed: u64) -> Result<Scene, DataError>;
}

impl Scenes for PictureSets {
    fn scene(&self, seed: u64) -> Result<Scene, DataError> {
        PictureSets::scene(self, seed)
    }
}

/// What answers count in the loss.
pub(crate) struct Answers<'a> {
    /// By their combination.
    pub(crate) weight: &'a dyn Fn(Combination) -> f64,
    /// How many times that the first token of each counts.
    pub(crate) first_token: f64,
}

/// Makes examples of numbered scenes; the same number always gives the same example.
pub(crate) struct Feed<'a> {
    pub(crate) sets: &'a dyn Scenes,
    pub(crate) processor: &'a Processor,
    pub(crate) config: &'a SafeSmolConfig,
    pub(crate) seed: u64,
}

impl Feed<'_> {
    /// The scene of that number.
    pub(crate) fn scene(&self, number: usize) -> Result<Scene, TrainError> {
        Ok(self.sets.scene(self.scene_seed(number))?)
    }

    /// One example a scene, with all its questions and answers; without `answers` it ends with the picture.
    pub(crate) fn examples(
        &self,
        scenes: Range<usize>,
        answers: Option<&Answers<'_>>,
    ) -> Result<Vec<Example>, TrainError> {
        scenes.map(|number| self.example(number, answers)).collect()
    }

    fn example(&self, number: usize, answers: Option<&Answers<'_>>) -> Result<Example, TrainError> {
        let Scene { image, label_id, rows, .. } = self.scene(number)?;
        let image = Arc::new(image);
        let (mut stem, mut turns) = (Vec::new(), Vec::new());
        for row in &rows {
            let conversation = Conversation::new().user(row.query.clone(), [image.clone()]);
            stem = self.processor.prompt(&conversation)?;
            let last = stem.iter().rposition(|id| *id == self.config.image_token);
            let question = stem.split_off(last.map_or(0, |last| last + 1));
            if let Some(Answers { weight, first_token }) = answers {
                let weight = weight(row.combination) as f32;
                let answer = self.processor.answer(&row.answer)?;
                turns.push(Turn { question, answer, weight, first_token: *first_token as f32 });
            }
        }
        Ok(Example { stem, turns, label: Some(label_id), image: Arc::unwrap_or_clone(image) })
    }

    fn scene_seed(&self, number: usize) -> u64 {
        self.seed.wrapping_mul(1 << 32).wrapping_add(number as u64)
    }
}
