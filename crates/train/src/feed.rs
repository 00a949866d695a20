//! Scenes to examples.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm_core::Conversation;
use safevlm_data::{Combination, DataError, PictureSets, Record, Scene};
use safevlm_safe_smol::{Processor, SafeSmolConfig};

use crate::batch::Example;
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

/// Makes examples of numbered scenes; the same number always gives the same example.
pub(crate) struct Feed<'a> {
    pub(crate) sets: &'a dyn Scenes,
    pub(crate) processor: &'a Processor,
    pub(crate) config: &'a SafeSmolConfig,
    pub(crate) seed: u64,
    pub(crate) weight: &'a BTreeMap<Combination, f64>,
}

impl Feed<'_> {
    /// The scene of that number.
    pub(crate) fn scene(&self, number: usize) -> Result<Scene, TrainError> {
        Ok(self.sets.scene(self.scene_seed(number))?)
    }

    /// One example a scene, about one of its rows; without `answers` it ends with the picture.
    pub(crate) fn examples(&self, scenes: Range<usize>, answers: bool) -> Result<Vec<Example>, TrainError> {
        scenes.map(|number| self.example(number, answers)).collect()
    }

    fn example(&self, number: usize, answers: bool) -> Result<Example, TrainError> {
        let scene = self.scene(number)?;
        let row = self.row(&scene.rows, self.scene_seed(number));
        let image = Arc::new(scene.image);
        let conversation = Conversation::new().user(row.query.clone(), [image.clone()]);
        let mut prompt = self.processor.prompt(&conversation)?;
        let mut answer = Vec::new();
        if answers {
            answer = self.processor.answer(&row.answer)?;
        } else {
            let last = prompt.iter().rposition(|id| *id == self.config.image_token);
            prompt.truncate(last.map_or(0, |last| last + 1));
        }
        drop(conversation);
        Ok(Example { prompt, answer, label: Some(scene.label_id), image: Arc::unwrap_or_clone(image) })
    }

    fn scene_seed(&self, number: usize) -> u64 {
        self.seed.wrapping_mul(1 << 32).wrapping_add(number as u64)
    }

    /// Draws one of a scene's rows by the recipe's weights.
    fn row<'r>(&self, rows: &'r [Record], seed: u64) -> &'r Record {
        let weight = |row: &Record| self.weight.get(&row.combination).copied().unwrap_or(1.0);
        let total: f64 = rows.iter().map(weight).sum();
        let mut left = ChaCha8Rng::seed_from_u64(seed).random::<f64>() * total;
        let drawn = rows.iter().position(|row| {
            left -= weight(row);
            left < 0.0
        });
        &rows[drawn.unwrap_or(rows.len() - 1)]
    }
}
