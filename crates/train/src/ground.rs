//! Grounding: before the language model sees a picture, the projector learns to write the names of
//! things as the language model's own word embeddings, and the vision encoder's last blocks to see them.
//!
//! Without the language model in the loop a step costs a hundredth of a joint one, and the frozen
//! model can read the visual tokens from the first joint step on. It does in little what LLaVA's
//! first stage (arXiv 2304.08485, section 4.2) does by captioning.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm_core::taxonomy::CLASSES;
use safevlm_family::{FamilyError, ModelOf};
use safevlm_nn::precision::widened;
use safevlm_nn::{CausalLm, GuardHead, ImageTokens, Padding, Projector, Vlm};

use crate::error::TrainError;
use crate::feed::Feed;
use crate::optimizer::read_all;
use crate::trainee::{CutEncoder, Trainee};

/// Divides the cosines before the softmax (CLIP's, arXiv 2103.00020).
const TEMPERATURE: f64 = 0.07;
/// Pictures that the encoder sees at once.
const ENCODE: usize = 8;
/// Words that name nothing.
const STOP_WORDS: &[&str] = &["a", "an", "the", "of", "in", "on", "under", "with", "and", "by", "to", "for"];

/// What the vision encoder makes of many pictures, with the words that each should become.
pub(crate) struct Grounding {
    /// What comes before the first trained block, or out of an encoder that is not trained; in half
    /// precision, which the maps of thousands of pictures need to fit into memory.
    maps: Vec<Vec<f16>>,
    /// Channels, height and width of a map before the first trained block, or the width of features.
    shape: Vec<usize>,
    /// The type that the model computes in.
    dtype: DType,
    /// The first trained block.
    cut: Option<usize>,
    /// For each picture, indices into `words`.
    targets: Vec<Vec<usize>>,
    /// Token ids of all words that occur.
    words: Vec<i32>,
    seed: u64,
}

impl Grounding {
    /// Runs the encoder over `samples` up to the block `cut`, or to its end, and collects the tokens of
    /// their subjects and classes. Conversations without a picture are passed over.
    pub(crate) fn prepare<F: Trainee>(
        feed: &Feed<'_, F>,
        model: &ModelOf<F>,
        cut: Option<usize>,
        samples: std::ops::Range<usize>,
        device: &Device,
        on_sample: &mut dyn FnMut(),
    ) -> Result<Self, TrainError> {
        let mut this = Self {
            maps: vec![],
            shape: vec![],
            dtype: DType::F32,
            cut,
            targets: vec![],
            words: vec![],
            seed: feed.seed,
        };
        let mut known: BTreeMap<u32, usize> = BTreeMap::new();
        let numbers: Vec<usize> = samples.collect();
        for part in numbers.chunks(ENCODE) {
            let (mut rows, mut images) = (vec![], vec![]);
            for sample in feed.samples(part)? {
                on_sample();
                if sample.images.is_empty() {
                    continue;
                }
                let (Some(subject), [image]) = (&sample.subject, &sample.images[..]) else {
                    return Err(TrainError::NoSubject);
                };
                rows.push(feed.family.prompt(&sample.shown())?);
                images.push(image.clone());
                let ids = words(feed, subject, sample.label.unwrap_or(0))?;
                let place = |id: u32| {
                    *known.entry(id).or_insert_with(|| {
                        this.words.push(id as i32);
                        this.words.len() - 1
                    })
                };
                let mut target: Vec<usize> = ids.into_iter().map(place).collect();
                target.sort_unstable();
                target.dedup();
                this.targets.push(target);
            }
            if images.is_empty() {
                continue;
            }
            let images: Vec<_> = images.iter().map(AsRef::as_ref).collect();
            let pixels = feed.family.inputs_of(rows, Padding::Right, &images, device)?.pixels;
            let Some(pixels) = pixels else { return Err(TrainError::NoSubject) };
            this.keep(model, pixels)?;
        }
        if this.targets.is_empty() {
            return Err(TrainError::NoSubject);
        }
        Ok(this)
    }

    fn keep<V: CutEncoder, P: Projector, L: CausalLm, G: GuardHead>(
        &mut self,
        model: &Vlm<V, P, L, G>,
        pixels: V::Pixels,
    ) -> Result<(), TrainError> {
        let (values, counts) = match self.cut {
            Some(cut) => {
                let maps = model.vision.until(pixels, cut).ok_or(TrainError::Cut { block: cut })?;
                self.dtype = maps.dtype();
                let [images, shape @ ..] = maps.dims();
                self.shape = shape.to_vec();
                (read_all(maps)?, vec![1; images])
            }
            None => {
                let features = model.vision.encode(pixels);
                self.dtype = features.states().dtype();
                self.shape = vec![features.states().dims()[1]];
                (read_all(features.states())?, features.counts().to_vec())
            }
        };
        let size: usize = self.shape.iter().product();
        let mut rest = &values[..];
        for count in counts {
            let (map, behind) = rest.split_at(count * size);
            self.maps.push(map.iter().copied().map(f16::from_f32).collect());
            rest = behind;
        }
        Ok(())
    }

    /// The pictures of the batch of `step`.
    pub(crate) fn draw(&self, step: usize, batch: usize) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ (step as u64) << 20);
        (0..batch).map(|_| rng.random_range(0..self.maps.len())).collect()
    }

    /// Visual tokens of `drawn`, with gradients to what is trained of encoder and projector.
    ///
    /// # Shapes
    ///
    /// - output `[visual tokens of all pictures, hidden]`
    pub(crate) fn visual_tokens<F: Trainee>(
        &self,
        model: &ModelOf<F>,
        drawn: &[usize],
        device: &Device,
    ) -> Result<ImageTokens, TrainError> {
        let values: Vec<f32> = drawn.iter().flat_map(|n| self.maps[*n].iter().copied().map(f16::to_f32)).collect();
        let dtype = self.dtype;
        let features = match (self.cut, &self.shape[..]) {
            (Some(cut), &[channels, height, width]) => {
                let shape = [drawn.len(), channels, height, width];
                let maps = Tensor::<4>::from_data(TensorData::new(values, shape), device).cast(dtype);
                model.vision.from(maps, cut).ok_or(TrainError::Cut { block: cut })?
            }
            _ => {
                let width: usize = self.shape.iter().product();
                let counts: Vec<usize> = drawn.iter().map(|n| self.maps[*n].len() / width).collect();
                let states = TensorData::new(values, [counts.iter().sum(), width]);
                ImageTokens::new(Tensor::<2>::from_data(states, device).cast(dtype), counts)
            }
        };
        Ok(model.projector.project(features))
    }

    /// The loss of the pictures `drawn`, `[1]`: cross-entropy of the mean visual token's cosine with each word against
    /// the picture's words, and the square of how far its length is from that of a word's embedding.
    pub(crate) fn loss<F: Trainee>(
        &self,
        model: &ModelOf<F>,
        drawn: &[usize],
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let batch = drawn.len();
        let mut share = vec![0f32; batch * self.words.len()];
        for (row, picture) in share.chunks_mut(self.words.len()).zip(drawn) {
            let words = &self.targets[*picture];
            words.iter().for_each(|word| row[*word] = 1.0 / words.len() as f32);
        }
        let share = Tensor::<2>::from_data(TensorData::new(share, [batch, self.words.len()]), device);

        let ids = TensorData::new(self.words.clone(), [1, self.words.len()]);
        let table = model.language_model.embed(Tensor::<2, Int>::from_data(ids, device)).detach();
        let [_, words, hidden] = table.dims();
        let table = widened(table.reshape([words, hidden]));
        let lengths = length(table.clone());
        let usual = lengths.clone().mean();
        let pooled = self.visual_tokens::<F>(model, drawn, device)?.map(widened).mean();
        let own = length(pooled.clone());
        let cosines = (pooled / own.clone()).matmul((table / lengths).transpose());
        let chosen = log_softmax(cosines.div_scalar(TEMPERATURE), 1) * share;
        let off = own / usual.unsqueeze::<2>() - 1.0;
        Ok(chosen.sum().neg().div_scalar(batch as f64) + off.square().mean())
    }
}

/// Length of each row, `[rows, width]` to `[rows, 1]`.
fn length(rows: Tensor<2>) -> Tensor<2> {
    rows.square().sum_dim(1).add_scalar(1e-12).sqrt()
}

/// Token ids of the words in a picture's subject and in the name of its class.
fn words<F: Trainee>(feed: &Feed<'_, F>, subject: &str, label: usize) -> Result<Vec<u32>, TrainError> {
    let class = CLASSES.get(label).map_or("safe", |class| class.display);
    let text = format!("{subject} {class}").to_lowercase();
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty() && !STOP_WORDS.contains(w));
    let mut ids = Vec::new();
    for word in parts {
        // With its space before it, as inside a sentence.
        ids.extend(feed.family.tokenizer().encode(&format!(" {word}")).map_err(FamilyError::from)?);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use safevlm_core::DeviceSpec;
    use safevlm_safe_smol::{Processor, SafeSmol, SafeSmolConfig};
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

    #[test]
    fn cached_maps_give_the_tokens_and_gradients_of_the_pictures_themselves() {
        let device = DeviceSpec::Flex.open().unwrap().0.autodiff();
        let sets = ["vision".to_owned()];
        let pixels = Tensor::<4>::random([3, 3, 16, 16], Distribution::Uniform(-1.0, 1.0), &device);
        for cut in [None, Some(0), Some(1), Some(2)] {
            let model = model(&device);
            let model = Trainable::find(&model, &sets, cut).unwrap().apply(model);
            let (targets, words) = (vec![vec![0], vec![1], vec![0, 1]], vec![3, 9]);
            let (maps, shape, dtype) = (vec![], vec![], DType::F32);
            let mut grounding = Grounding { maps, shape, dtype, cut, targets, words, seed: 0 };
            grounding.keep(&model, pixels.clone()).unwrap();
            // In another order, and one scene twice.
            let drawn = [2, 0, 2, 1];
            let direct =
                model.visual_tokens(pixels.clone().select(0, Tensor::from_data([2, 0, 2, 1], &device)), &device);
            let cached = grounding.visual_tokens::<Processor>(&model, &drawn, &device).unwrap();
            assert_eq!(cached.counts(), direct.counts());
            for (ours, theirs) in read_all(cached.states()).unwrap().into_iter().zip(read_all(direct.states()).unwrap())
            {
                assert!((ours - theirs).abs() < 2e-3, "{cut:?}: {ours} {theirs}");
            }
            let loss = grounding.loss::<Processor>(&model, &drawn, &device).unwrap();
            if cut.is_some() {
                let gradients = loss.backward();
                assert!(model.vision.conv_head.weight.val().grad(&gradients).is_some(), "{cut:?}");
                assert!(model.vision.conv_stem.weight.val().grad(&gradients).is_none(), "{cut:?}");
            }
        }
    }
}
