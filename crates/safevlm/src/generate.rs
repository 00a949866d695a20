//! Decoding: one token after another, each seeing the cache of those before.

use burn::tensor::{Device, Tensor};
use safevlm_nn::{CausalLm, KvCache, Sampler, Sequences, vlm};
use safevlm_text::{TextStream, TextTokenizer};

use crate::answer::{FinishReason, GenerationConfig};
use crate::error::Error;

/// What decoding gave.
pub(crate) struct Generated {
    pub(crate) tokens: Vec<u32>,
    pub(crate) text: String,
    pub(crate) finish_reason: FinishReason,
}

/// Generates up to `limit` tokens behind a prefilled `sequences`, whose last hidden state is `last`
/// (`[1, hidden]`).
#[allow(clippy::too_many_arguments, reason = "the whole state of one decoding run")]
pub(crate) fn generate<L: CausalLm>(
    language_model: &L,
    tokenizer: &TextTokenizer,
    mut sequences: Sequences,
    mut last: Tensor<2>,
    cache: &mut KvCache,
    config: &GenerationConfig,
    limit: usize,
    eos: &[u32],
    device: &Device,
    on_text: &mut dyn FnMut(&str),
) -> Result<Generated, Error> {
    let mut sampler = Sampler::new(config.sampler())?;
    let mut stream = TextStream::new(tokenizer, &config.stop);
    let mut context = sequences.row(0).to_vec();
    let mut tokens = Vec::new();
    let mut finish_reason = FinishReason::Length;
    while tokens.len() < limit {
        let mut logits = to_vec(language_model.logits(last.clone()))?;
        let next = sampler.next(&mut logits, &context)?;
        tokens.push(next);
        context.push(next);
        if eos.contains(&next) {
            finish_reason = FinishReason::Stop;
            break;
        }
        let piece = stream.push(next)?;
        on_text(&piece.text);
        if piece.stopped {
            finish_reason = FinishReason::Stop;
            break;
        }
        if tokens.len() < limit {
            sequences.push(&[next]);
            let start = sequences.tokens() - 1;
            let embeddings = language_model.embed(sequences.ids(start, device));
            let hidden = vlm::run(language_model, embeddings, &sequences, start, Some(cache), device);
            last = last_state(hidden);
        }
    }
    let piece = stream.finish()?;
    on_text(&piece.text);
    Ok(Generated { text: stream.text().to_owned(), tokens, finish_reason })
}

/// The state of the last token of each row, `[batch, tokens, hidden]` to `[batch, hidden]`.
pub(crate) fn last_state(hidden: Tensor<3>) -> Tensor<2> {
    let [batch, tokens, width] = hidden.dims();
    hidden.narrow(1, tokens - 1, 1).reshape([batch, width])
}

/// Reads a tensor back as f32; a device that failed says so here.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    let data = tensor.try_into_data().map_err(|error| Error::Device(error.to_string()))?;
    data.convert::<f32>().try_into_vec::<f32>().map_err(|error| Error::Device(format!("{error:?}")))
}
