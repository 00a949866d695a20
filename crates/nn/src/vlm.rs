//! The whole graph: pixels → encoder → projector → language model → verdict and text.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safevlm_core::profile::stage;
use safevlm_kernels::on_pool;
use thiserror::Error;

use crate::image_tokens::ImageTokens;
use crate::kv_cache::KvCache;
use crate::seams::{CausalLm, GuardHead, GuardInput, Projector, VisionEncoder};
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
    /// States of the visual tokens to class logits; a base model has none.
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
    /// The visual tokens of each image, with the guard's meta token behind them if it has one.
    ///
    /// # Shapes
    ///
    /// - output `[visual tokens of all images, hidden]`
    pub fn visual_tokens(&self, pixels: V::Pixels, device: &Device) -> ImageTokens {
        let features = stage("vision encoder", device, || self.vision.encode(pixels));
        stage("projector", device, || self.project(features))
    }

    /// [`visual_tokens`](Self::visual_tokens) of features that have been encoded before.
    ///
    /// # Shapes
    ///
    /// - features `[features of all images, width]`
    /// - output `[visual tokens of all images, hidden]`
    pub fn project(&self, features: ImageTokens) -> ImageTokens {
        let visual = self.projector.project(features);
        match self.guard.as_ref().and_then(GuardHead::meta_token) {
            Some(token) => visual.followed_by(token),
            None => visual,
        }
    }

    /// Text embeddings with each visual token in its place.
    ///
    /// # Shapes
    ///
    /// - visual `[visual tokens of all images, hidden]`, in reading order
    /// - output `[batch, tokens, hidden]`
    ///
    /// # Errors
    ///
    /// If the placeholders are not as many as the visual tokens.
    pub fn embed(
        &self,
        sequences: &Sequences,
        visual: Option<&ImageTokens>,
        device: &Device,
    ) -> Result<Tensor<3>, ImageCountError> {
        let text = self.language_model.embed(sequences.ids(0, device));
        let places = sequences.visual_tokens();
        let given = visual.map_or(0, |visual| visual.counts().iter().sum());
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
        let both = Tensor::cat(vec![text.reshape([rows, hidden]), visual.states()], 0);
        Ok(both.select(0, indices(source, device)).reshape([batch, tokens, hidden]))
    }

    /// Runs the language model over whole sequences and the guard over their images.
    ///
    /// # Shapes
    ///
    /// - visual `[visual tokens of all images, hidden]`, in reading order
    ///
    /// # Errors
    ///
    /// If the placeholders are not as many as the visual tokens.
    pub fn forward(
        &self,
        sequences: &Sequences,
        visual: Option<ImageTokens>,
        cache: Option<&mut KvCache>,
        device: &Device,
    ) -> Result<VlmOutput, ImageCountError> {
        let embeddings = self.embed(sequences, visual.as_ref(), device)?;
        let hidden = stage("prefill", device, || run(&self.language_model, embeddings, sequences, 0, cache, device));
        let guard = visual
            .and_then(|visual| stage("guard head", device, || self.guard_logits(&hidden, sequences, visual, device)));
        Ok(VlmOutput { hidden, guard })
    }

    /// Guard logits of each image, `[images, classes]`, from its own visual tokens or from the language
    /// model's states of them; none without a guard head.
    pub fn guard_logits(
        &self,
        hidden: &Tensor<3>,
        sequences: &Sequences,
        visual: ImageTokens,
        device: &Device,
    ) -> Option<Tensor<2>> {
        let guard = self.guard.as_ref()?;
        Some(guard.classify(guard_states(guard, hidden, sequences, visual, device)))
    }

    /// Guard logits of each visual token alone, `[visual tokens of all images, classes]`, from the same states
    /// as [`guard_logits`](Self::guard_logits); none without a guard head that looks at them.
    pub fn guard_token_logits(
        &self,
        hidden: &Tensor<3>,
        sequences: &Sequences,
        visual: ImageTokens,
        device: &Device,
    ) -> Option<Tensor<2>> {
        let guard = self.guard.as_ref()?;
        guard.classify_tokens(guard_states(guard, hidden, sequences, visual, device))
    }
}

/// The states that a guard head asks for, of each visual token.
fn guard_states<G: GuardHead>(
    guard: &G,
    hidden: &Tensor<3>,
    sequences: &Sequences,
    visual: ImageTokens,
    device: &Device,
) -> ImageTokens {
    match guard.input() {
        GuardInput::Projector => visual,
        GuardInput::HiddenStates => visual.map(|_| {
            let [batch, tokens, width] = hidden.dims();
            let places = sequences.visual_tokens().into_iter().map(|place| place as i32).collect();
            hidden.clone().reshape([batch * tokens, width]).select(0, indices(places, device))
        }),
    }
}

fn indices(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Tokens that go through the language model at once, where a cache carries on what the next ones need: with more of
/// them only the memory grows.
const PIECE: usize = 1024;

/// Runs `language_model` over `embeddings`, which are tokens `start..` of `sequences`; those before
/// `start` are in the cache. With a cache, long prompts go through in pieces.
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
    let all = start..start + tokens;
    let forward = |embeddings: Tensor<3>, tokens: Range<usize>, cache: Option<&mut KvCache>| {
        let positions = sequences.positions(tokens.start, tokens.end);
        let mask = sequences.mask(tokens.start, tokens.end, device);
        on_pool(|| language_model.forward(embeddings, &positions, &mask, cache))
    };
    match cache {
        Some(cache) if tokens > PIECE => {
            let pieces = sequences.pieces(all, PIECE).into_iter().map(|piece| {
                let part = embeddings.clone().narrow(1, piece.start - start, piece.len());
                forward(part, piece, Some(&mut *cache))
            });
            Tensor::cat(pieces.collect(), 1)
        }
        cache => forward(embeddings, all, cache),
    }
}

/// [`CausalLm::logits`] by the threads that compute.
///
/// # Shapes
///
/// - hidden `[rows, hidden]`, output `[rows, vocabulary]`
pub fn logits<L: CausalLm>(language_model: &L, hidden: Tensor<2>) -> Tensor<2> {
    on_pool(|| language_model.logits(hidden))
}
