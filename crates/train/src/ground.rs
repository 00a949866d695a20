//! Grounding: before the language model sees a picture, the projector learns to write the names of
//! things as the language model's own word embeddings, and the vision encoder's last blocks to see them.
//!
//! Without the language model in the loop a step costs a hundredth of a joint one, and the frozen
//! model can read the visual tokens from the first joint step on. It does in little what LLaVA's
//! first stage (arXiv 2304.08485, section 4.2) does by captioning.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm_core::taxonomy::CLASSES;
use safevlm_efficientnet::EfficientNet;
use safevlm_nn::{GuardHead, ImageTokens, Projector};
use safevlm_safe_smol::SafeSmol;

use crate::error::TrainError;
use crate::feed::Feed;
use crate::loss::{Losses, surprise};

/// Divides the cosines before the softmax (CLIP's, arXiv 2103.00020).
const TEMPERATURE: f64 = 0.07;
/// Scenes that the encoder sees at once.
const ENCODE: usize = 8;
/// Words that name nothing.
const STOP_WORDS: &[&str] = &["a", "an", "the", "of", "in", "on", "under", "with", "and", "by", "to", "for"];

/// Maps of many scenes from inside the vision encoder, with the words that each should become.
pub(crate) struct Grounding {
    /// What comes before the first trained block, or out of an encoder that is not trained; in half
    /// precision, which the maps of thousands of scenes need to fit into memory.
    maps: Vec<Vec<f16>>,
    /// Channels, height and width of a map.
    shape: [usize; 3],
    /// The first trained block.
    cut: Option<usize>,
    /// Class of each scene.
    labels: Vec<i32>,
    /// For each scene, indices into `words`.
    targets: Vec<Vec<usize>>,
    /// Token ids of all words that occur.
    words: Vec<i32>,
    seed: u64,
}

impl Grounding {
    /// Runs the encoder over `scenes` up to the block `cut`, or to its end, and collects the tokens of
    /// their subjects and classes.
    pub(crate) fn prepare(
        feed: &Feed<'_>,
        model: &SafeSmol,
        cut: Option<usize>,
        scenes: std::ops::Range<usize>,
        device: &Device,
        on_scene: &mut dyn FnMut(),
    ) -> Result<Self, TrainError> {
        let mut this =
            Self { maps: vec![], shape: [0; 3], cut, labels: vec![], targets: vec![], words: vec![], seed: feed.seed };
        let mut known: BTreeMap<u32, usize> = BTreeMap::new();
        let numbers: Vec<usize> = scenes.collect();
        for part in numbers.chunks(ENCODE) {
            let scenes = part.iter().map(|n| feed.scene(*n)).collect::<Result<Vec<_>, _>>()?;
            let images: Vec<_> = scenes.iter().map(|scene| &scene.image).collect();
            let pixels = feed.processor.pixels(&images, device)?;
            let maps = match cut {
                Some(cut) => model.vision.forward_until(pixels, cut),
                None => model.vision.forward_features(pixels),
            };
            let [_, channels, height, width] = maps.dims();
            this.shape = [channels, height, width];
            let data = maps.detach().try_into_data().map_err(|e| TrainError::Device(e.to_string()))?;
            let values = data.try_into_vec::<f32>().map_err(|e| TrainError::Device(format!("{e:?}")))?;
            let halves = values.chunks(channels * height * width);
            this.maps.extend(halves.map(|map| map.iter().copied().map(f16::from_f32).collect::<Vec<_>>()));
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
                this.labels.push(scene.label_id as i32);
                on_scene();
            }
        }
        Ok(this)
    }

    /// The scenes of the batch of `step`.
    pub(crate) fn draw(&self, step: usize, batch: usize) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ (step as u64) << 20);
        (0..batch).map(|_| rng.random_range(0..self.maps.len())).collect()
    }

    /// The classes of `drawn`.
    pub(crate) fn labels(&self, drawn: &[usize]) -> Vec<i32> {
        drawn.iter().map(|n| self.labels[*n]).collect()
    }

    /// Visual tokens of `drawn`, with gradients to what is trained of encoder and projector.
    ///
    /// # Shapes
    ///
    /// - output `[visual tokens of all scenes, hidden]`
    pub(crate) fn visual_tokens(&self, model: &SafeSmol, drawn: &[usize], device: &Device) -> ImageTokens {
        let [channels, height, width] = self.shape;
        let values: Vec<f32> = drawn.iter().flat_map(|n| self.maps[*n].iter().copied().map(f16::to_f32)).collect();
        let maps = Tensor::<4>::from_data(TensorData::new(values, [drawn.len(), channels, height, width]), device);
        let maps = match self.cut {
            Some(cut) => model.vision.forward_from(maps, cut),
            None => maps,
        };
        model.projector.project(ImageTokens::equal(EfficientNet::tokens(maps)))
    }

    /// Two losses of the scenes `drawn`. Of the words: cross-entropy of the mean visual token's cosine
    /// with each word against the scene's words, and the square of how far its length is from that
    /// of a word's embedding. Of the guard, with `classify`: its loss on the visual tokens as they would
    /// leave a language model without layers.
    pub(crate) fn losses(&self, model: &SafeSmol, drawn: &[usize], classify: bool, device: &Device) -> Losses {
        let batch = drawn.len();
        let mut share = vec![0f32; batch * self.words.len()];
        for (row, scene) in share.chunks_mut(self.words.len()).zip(drawn) {
            let words = &self.targets[*scene];
            words.iter().for_each(|word| row[*word] = 1.0 / words.len() as f32);
        }
        let share = Tensor::<2>::from_data(TensorData::new(share, [batch, self.words.len()]), device);

        let ids = Tensor::<1, Int>::from_data(TensorData::new(self.words.clone(), [self.words.len()]), device);
        let table = model.language_model.embed_tokens.weight.val().detach().select(0, ids);
        let lengths = length(table.clone());
        let usual = lengths.clone().mean();
        let visual = self.visual_tokens(model, drawn, device);
        let pooled = visual.mean();
        let own = length(pooled.clone());
        let cosines = (pooled / own.clone()).matmul((table / lengths).transpose());
        let chosen = log_softmax(cosines.div_scalar(TEMPERATURE), 1) * share;
        let off = own / usual.unsqueeze::<2>() - 1.0;
        let words = chosen.sum().neg().div_scalar(batch as f64) + off.square().mean();

        let guard_logits = model
            .guard
            .as_ref()
            .filter(|_| classify)
            .map(|guard| guard.classify(visual.map(|states| model.language_model.norm.forward(states))));
        let guard = guard_logits.clone().map(|logits| surprise(logits, &self.labels(drawn), device).mean());
        Losses { language: Some(words), guard, guard_logits }
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

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use safevlm_core::DeviceSpec;
    use safevlm_safe_smol::SafeSmolConfig;
    use serde_json::json;

    use super::*;
    use crate::Trainable;

    /// Two blocks, 16 x 16 pixels to 2 x 2 tokens.
    fn model(device: &Device) -> SafeSmol {
        let stage = json!({ "repeats": 1, "kernel": 3, "stride": 2, "expansion": 2, "width": 6 });
        let config = json!({
            "model_type": "safe_smol", "image_token_index": 20,
            "vision_config": {
                "stem_width": 4, "stages": [stage, stage], "head_width": 8, "num_classes": 0, "image_size": 16,
                "crop_pct": 1.0, "interpolation": "bilinear",
            },
            "text_config": {
                "vocab_size": 20, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
                "tie_word_embeddings": true,
            },
            "safety_categories": CLASSES.iter().map(|class| class.name).collect::<Vec<_>>(),
            "num_safety_categories": CLASSES.len(),
        });
        SafeSmolConfig::from_hf(&config).unwrap().init(device)
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn cached_maps_give_the_tokens_and_gradients_of_the_pictures_themselves() {
        let device = DeviceSpec::Flex.open().unwrap().0.autodiff();
        let sets = ["vision".to_owned()];
        let pixels = Tensor::<4>::random([3, 3, 16, 16], Distribution::Uniform(-1.0, 1.0), &device);
        for cut in [None, Some(0), Some(1), Some(2)] {
            let model = model(&device);
            let model = Trainable::find(&model, &sets, cut).unwrap().apply(model);
            let maps = match cut {
                Some(cut) => model.vision.forward_until(pixels.clone(), cut),
                None => model.vision.forward_features(pixels.clone()),
            };
            let [_, channels, height, width] = maps.dims();
            let halves: Vec<f16> = values(maps).into_iter().map(f16::from_f32).collect();
            let grounding = Grounding {
                maps: halves.chunks(channels * height * width).map(<[f16]>::to_vec).collect(),
                shape: [channels, height, width],
                cut,
                labels: vec![0, 7, 16],
                targets: vec![vec![0], vec![1], vec![0, 1]],
                words: vec![3, 9],
                seed: 0,
            };
            // In another order, and one scene twice.
            let drawn = [2, 0, 2, 1];
            let direct =
                model.visual_tokens(pixels.clone().select(0, Tensor::from_data([2, 0, 2, 1], &device)), &device);
            let cached = grounding.visual_tokens(&model, &drawn, &device);
            assert_eq!(cached.counts(), direct.counts());
            for (ours, theirs) in values(cached.states()).into_iter().zip(values(direct.states())) {
                assert!((ours - theirs).abs() < 2e-3, "{cut:?}: {ours} {theirs}");
            }
            let losses = grounding.losses(&model, &drawn, true, &device);
            assert_eq!(losses.guard_logits.as_ref().unwrap().dims(), [4, CLASSES.len()]);
            assert_eq!(grounding.labels(&drawn), [16, 0, 16, 7]);
            if cut.is_some() {
                let gradients = losses.joint(1.0).unwrap().backward();
                assert!(model.vision.conv_head.weight.val().grad(&gradients).is_some(), "{cut:?}");
                assert!(model.vision.conv_stem.weight.val().grad(&gradients).is_none(), "{cut:?}");
            }
            assert!(grounding.losses(&model, &drawn, false, &device).guard.is_none());
        }
    }
}
