//! Decoding: one token after another in each row, each seeing the cache of those before.

use burn::tensor::{Device, Tensor};
use safevlm_core::profile::stage;
use safevlm_nn::{CausalLm, KvCache, Sampler, Sequences, vlm};
use safevlm_text::{TextStream, TextTokenizer};

use crate::answer::{FinishReason, GenerationConfig};
use crate::error::Error;

/// What decoding gave for one row.
pub(crate) struct Generated {
    pub(crate) tokens: Vec<u32>,
    pub(crate) text: String,
    pub(crate) finish_reason: FinishReason,
}

/// A row while it grows.
struct Growing<'a> {
    sampler: Sampler,
    stream: TextStream<'a>,
    /// Prompt and answer.
    context: Vec<u32>,
    tokens: Vec<u32>,
    limit: usize,
    finished: Option<FinishReason>,
}

/// Generates behind the prefilled rows of `sequences`, whose last hidden states are `last` (`[batch, hidden]`), up to
/// its limit in each row. `on_text` gets a row's number and its text in whole characters. Rows that are finished
/// go on with the others, and what comes of them is dropped.
#[allow(clippy::too_many_arguments, reason = "the whole state of one decoding run")]
pub(crate) fn generate<L: CausalLm>(
    language_model: &L,
    tokenizer: &TextTokenizer,
    mut sequences: Sequences,
    mut last: Tensor<2>,
    cache: &mut KvCache,
    config: &GenerationConfig,
    limits: &[usize],
    eos: &[u32],
    device: &Device,
    on_text: &mut dyn FnMut(usize, &str),
) -> Result<Vec<Generated>, Error> {
    let mut rows = Vec::with_capacity(limits.len());
    for (row, limit) in limits.iter().enumerate() {
        let valid = sequences.row(row).iter().zip(sequences.valid(row));
        rows.push(Growing {
            sampler: Sampler::new(config.sampler())?,
            stream: TextStream::new(tokenizer, &config.stop),
            context: valid.filter(|(_, valid)| **valid).map(|(id, _)| *id).collect(),
            tokens: Vec::new(),
            limit: *limit,
            finished: None,
        });
    }
    loop {
        let mut logits = stage("logits", device, || to_vec(vlm::logits(language_model, last)))?;
        let vocabulary = logits.len() / rows.len().max(1);
        let mut next = Vec::with_capacity(rows.len());
        for (at, (row, logits)) in rows.iter_mut().zip(logits.chunks_mut(vocabulary.max(1))).enumerate() {
            next.push(match row.finished {
                None => row.grow(logits, eos, &mut |text| on_text(at, text))?,
                Some(_) => row.tokens[row.tokens.len() - 1],
            });
        }
        if rows.iter().all(|row| row.finished.is_some()) {
            break;
        }
        sequences.push(&next);
        let start = sequences.tokens() - 1;
        let embeddings = language_model.embed(sequences.ids(start, device));
        let hidden =
            stage("decode", device, || vlm::run(language_model, embeddings, &sequences, start, Some(cache), device));
        last = last_state(hidden);
    }
    rows.into_iter().enumerate().map(|(at, row)| row.finish(&mut |text| on_text(at, text))).collect()
}

impl Growing<'_> {
    /// Takes the next token, and says whether it was the last one.
    fn grow(&mut self, logits: &mut [f32], eos: &[u32], on_text: &mut dyn FnMut(&str)) -> Result<u32, Error> {
        let next = self.sampler.next(logits, &self.context)?;
        self.tokens.push(next);
        self.context.push(next);
        if eos.contains(&next) {
            self.finished = Some(FinishReason::Stop);
            return Ok(next);
        }
        let piece = self.stream.push(next)?;
        on_text(&piece.text);
        if piece.stopped {
            self.finished = Some(FinishReason::Stop);
        } else if self.tokens.len() >= self.limit {
            self.finished = Some(FinishReason::Length);
        }
        Ok(next)
    }

    fn finish(mut self, on_text: &mut dyn FnMut(&str)) -> Result<Generated, Error> {
        let piece = self.stream.finish()?;
        on_text(&piece.text);
        Ok(Generated {
            text: self.stream.text().to_owned(),
            tokens: self.tokens,
            finish_reason: self.finished.unwrap_or(FinishReason::Length),
        })
    }
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
