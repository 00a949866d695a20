//! Grounding: before the language model sees a picture, the projector learns to write the names of
//! things as the language model's own word embeddings.
//!
//! Without the language model in the loop a step costs a thousandth of a joint one, and the frozen
//! model can read the visual tokens from the first joint step on. It does in little what LLaVA's
//! first stage (arXiv 2304.08485, section 4.2) does by captioning.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm_core::taxonomy::CLASSES;
use safevlm_nn::{ImageTokens, Projector};
use safevlm_safe_smol::SafeSmol;

use crate::error::TrainError;
use crate::feed::Feed;

/// Divides the cosines before the softmax (CLIP's, arXiv 2103.00020).
const TEMPERATURE: f64 = 0.07;
/// Scenes that the encoder sees at once.
const ENCODE: usize = 8;
/// Words that name nothing.
const STOP_WORDS: &[&str] = &["a", "an", "the", "of", "in", "on", "under", "with", "and", "by", "to", "for"];

/// Features of many scenes, with the words that each should become.
pub(crate) struct Grounding {
    /// Feature maps, `tokens · width` values each; in half precision, which the features of thousands of
    /// scenes need to fit into memory.
    features: Vec<Vec<f16>>,
    shape: [usize; 2],
    /// For each scene, indices into `words`.
    targets: Vec<Vec<usize>>,
    /// Token ids of all words that occur.
    words: Vec<i32>,
    seed: u64,
}

impl Grounding {
    /// Encodes `scenes` and collects the tokens of their subjects and classes.
    pub(crate) fn prepare(
        feed: &Feed<'_>,
        model: &SafeSmol,
        scenes: std::ops::Range<usize>,
        device: &Device,
        on_scene: &mut dyn FnMut(),
    ) -> Result<Self, TrainError> {
        let mut this = Self { features: vec![], shape: [0, 0], targets: vec![], words: vec![], seed: feed.seed };
        let mut known: BTreeMap<u32, usize> = BTreeMap::new();
        let numbers: Vec<usize> = scenes.collect();
        for part in numbers.chunks(ENCODE) {
            let scenes = part.iter().map(|n| feed.scene(*n)).collect::<Result<Vec<_>, _>>()?;
            let images: Vec<_> = scenes.iter().map(|scene| &scene.image).collect();
            let features = model.vision.features(feed.processor.pixels(&images, device)?);
            let [_, tokens, width] = features.dims();
            this.shape = [tokens, width];
            let data = features.try_into_data().map_err(|e| TrainError::Device(e.to_string()))?;
            let values = data.try_into_vec::<f32>().map_err(|e| TrainError::Device(format!("{e:?}")))?;
            this.features
                .extend(values.chunks(tokens * width).map(|map| map.iter().copied().map(f16::from_f32).collect()));
            for scene in &scenes {
                let ids = words(feed, &scene.subject, scene.label_id)?;
                let mut target: Vec<usize> = ids
                    .into_iter()
                    .map(|id| {
                        *known.entry(id).or_insert_with(|| {
                            this.words.push(id as i32);
                            this.words.len() - 1
                        })
                    })
                    .collect();
                target.sort_unstable();
                target.dedup();
                this.targets.push(target);
                on_scene();
            }
        }
        Ok(this)
    }

    /// The loss of a batch drawn for `step`: cross-entropy of the mean visual token's cosine with
    /// each word against the scene's words, and the square of how far its length is from that of a
    /// word's embedding.
    pub(crate) fn loss(&self, model: &SafeSmol, step: usize, batch: usize, device: &Device) -> Tensor<1> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ (step as u64) << 20);
        let drawn: Vec<usize> = (0..batch).map(|_| rng.random_range(0..self.features.len())).collect();
        let [tokens, width] = self.shape;
        let features: Vec<f32> =
            drawn.iter().flat_map(|n| self.features[*n].iter().copied().map(f16::to_f32)).collect();
        let features = Tensor::<3>::from_data(TensorData::new(features, [batch, tokens, width]), device);
        let mut share = vec![0f32; batch * self.words.len()];
        for (row, scene) in share.chunks_mut(self.words.len()).zip(&drawn) {
            let words = &self.targets[*scene];
            words.iter().for_each(|word| row[*word] = 1.0 / words.len() as f32);
        }
        let share = Tensor::<2>::from_data(TensorData::new(share, [batch, self.words.len()]), device);

        let ids = Tensor::<1, Int>::from_data(TensorData::new(self.words.clone(), [self.words.len()]), device);
        let table = model.language_model.embed_tokens.weight.val().detach().select(0, ids);
        let lengths = length(table.clone());
        let usual = lengths.clone().mean();
        let pooled = model.projector.project(ImageTokens::equal(features)).mean();
        let own = length(pooled.clone());
        let cosines = (pooled / own.clone()).matmul((table / lengths).transpose());
        let chosen = log_softmax(cosines.div_scalar(TEMPERATURE), 1) * share;
        let off = own / usual.unsqueeze::<2>() - 1.0;
        chosen.sum().neg().div_scalar(batch as f64) + off.square().mean()
    }
}

/// Length of each row, `[rows, width]` to `[rows, 1]`.
fn length(rows: Tensor<2>) -> Tensor<2> {
    rows.square().sum_dim(1).add_scalar(1e-12).sqrt()
}

/// Token ids of the words in a scene's subject and in the name of its class.
fn words(feed: &Feed<'_>, subject: &str, label: usize) -> Result<Vec<u32>, TrainError> {
    let class = CLASSES.get(label).map_or("safe", |class| class.display);
    let text = format!("{subject} {class}").to_lowercase();
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty() && !STOP_WORDS.contains(w));
    let mut ids = Vec::new();
    for word in parts {
        // With its space before it, as inside a sentence.
        ids.extend(feed.processor.tokenizer.encode(&format!(" {word}")).map_err(safevlm_family::FamilyError::from)?);
    }
    Ok(ids)
}
