//! The whole graph: pixels → encoder → projector → language model → verdict and text.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use thiserror::Error;

use crate::kv_cache::KvCache;
use crate::seams::{CausalLm, GuardHead, Projector, VisionEncoder};
use crate::sequences::Sequences;

/// A vision-language model with a Visual Guard Module (arXiv 2506.04704, section 4), made of any
/// encoder, projector, language model and guard head that fit together.
#[derive(Module, Debug)]
pub struct Vlm<V: VisionEncoder, P: Projector, L: CausalLm, G: GuardHead> {
    /// Pixels to features.
    pub vision: V,
    /// Features to visual tokens.
    pub projector: P,
    /// Visual and text tokens to hidden states and logits.
    pub language_model: L,
    /// Hidden states of the visual tokens to class logits; a base model has none.
    pub guard: Option<G>,
}

/// The prompt and the images do not belong together.
#[derive(Debug, Error)]
#[error(
    "the prompt has {placeholders} visual tokens but the images give {visual}: use one image placeholder for each image"
)]
pub struct ImageCountError {
    placeholders: usize,
    visual: usize,
}

/// What one prefill gives.
#[derive(Debug)]
pub struct VlmOutput {
    /// Last hidden states after the final norm, `[batch, tokens, hidden]`.
    pub hidden: Tensor<3>,
    /// Guard logits of each image, `[images, classes]`; none without a guard head or images.
    pub guard: Option<Tensor<2>>,
}

impl<V: VisionEncoder, P: Projector, L: CausalLm, G: GuardHead> Vlm<V, P, L, G> {
    /// # Shapes
    ///
    /// - pixels `[images, 3, height, width]`
    /// - output `[images, tokens, hidden]`
    pub fn visual_tokens(&self, pixels: Tensor<4>) -> Tensor<3> {
        self.projector.project(self.vision.encode(pixels))
    }

    /// Text embeddings with each visual token in its place.
    ///
    /// # Shapes
    ///
    /// - visual `[images, tokens_per_image, hidden]`, in reading order
    /// - output `[batch, tokens, hidden]`
    ///
    /// # Errors
    ///
    /// If the placeholders are not as many as the visual tokens.
    pub fn embed(
        &self,
        sequences: &Sequences,
        visual: Option<Tensor<3>>,
        device: &Device,
    ) -> Result<Tensor<3>, ImageCountError> {
        let text = self.language_model.embed(sequences.ids(0, device));
        let places = sequences.visual_tokens();
        let given = visual.as_ref().map_or(0, |v| v.dims()[0] * v.dims()[1]);
        if places.len() != given {
            return Err(ImageCountError { placeholders: places.len(), visual: given });
        }
        let Some(visual) = visual else { return Ok(text) };
        let [batch, tokens, hidden] = text.dims();
        let rows = batch * tokens;
        let mut source: Vec<i32> = (0..rows as i32).collect();
        for (nth, place) in places.into_iter().enumerate() {
            source[place] = (rows + nth) as i32;
        }
        let source = Tensor::<1, Int>::from_data(TensorData::new(source, [rows]), device);
        let both = Tensor::cat(vec![text.reshape([rows, hidden]), visual.reshape([given, hidden])], 0);
        Ok(both.select(0, source).reshape([batch, tokens, hidden]))
    }

    /// Runs the language model over whole sequences and the guard over their visual tokens.
    ///
    /// # Shapes
    ///
    /// - visual `[images, tokens_per_image, hidden]`
    ///
    /// # Errors
    ///
    /// If the placeholders are not as many as the visual tokens.
    pub fn forward(
        &self,
        sequences: &Sequences,
        visual: Option<Tensor<3>>,
        cache: Option<&mut KvCache>,
        device: &Device,
    ) -> Result<VlmOutput, ImageCountError> {
        let tokens_per_image = visual.as_ref().map_or(0, |v| v.dims()[1]);
        let embeddings = self.embed(sequences, visual, device)?;
        let hidden = run(&self.language_model, embeddings, sequences, 0, cache, device);
        let guard = self.guard_logits(&hidden, sequences, tokens_per_image, device);
        Ok(VlmOutput { hidden, guard })
    }

    /// Guard logits of each image from the states of its own visual tokens, `[images, classes]`.
    pub fn guard_logits(
        &self,
        hidden: &Tensor<3>,
        sequences: &Sequences,
        tokens_per_image: usize,
        device: &Device,
    ) -> Option<Tensor<2>> {
        let guard = self.guard.as_ref()?;
        let images = sequences.images(tokens_per_image);
        if images.is_empty() {
            return None;
        }
        let rows: Vec<i32> = images.iter().map(|image| image.row as i32).collect();
        let in_order = rows.iter().enumerate().all(|(nth, row)| nth as i32 == *row);
        let states = if in_order && rows.len() == sequences.batch() {
            hidden.clone()
        } else {
            let count = rows.len();
            hidden.clone().select(0, Tensor::from_data(TensorData::new(rows, [count]), device))
        };
        Some(guard.classify(states, sequences.visual_mask(tokens_per_image, device)))
    }
}

/// Runs `language_model` over `embeddings`, which are tokens `start..` of `sequences`; those before
/// `start` are in the cache.
///
/// # Shapes
///
/// - embeddings and output `[batch, tokens, hidden]`
pub fn run<L: CausalLm>(
    language_model: &L,
    embeddings: Tensor<3>,
    sequences: &Sequences,
    start: usize,
    cache: Option<&mut KvCache>,
    device: &Device,
) -> Tensor<3> {
    let [_, tokens, _] = embeddings.dims();
    let positions = sequences.positions(start, start + tokens);
    let mask = sequences.mask(start, start + tokens, device);
    language_model.forward(embeddings, &positions, &mask, cache)
}
