//! Decoding: one token after another in each row, each seeing the cache of those before.

use burn::tensor::{Device, Tensor};
use safevlm_core::host;
use safevlm_core::profile::{Work, operation, stage};
use safevlm_nn::sampler::{ids_of, most_likely};
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
    // Where logits lie in main memory, looking at them costs nothing.
    let on_device = config.sampler().is_greedy() && !host::is_of(device);
    loop {
        let next = stage("logits", device, || {
            let logits = vlm::logits(language_model, last);
            match on_device {
                true => Ok(ids_of(&to_vec(most_likely(logits))?)?),
                false => choose(&mut rows, to_vec(logits)?),
            }
        })?;
        for (at, (row, next)) in rows.iter_mut().zip(&next).enumerate() {
            row.grow(*next, eos, &mut |text| on_text(at, text))?;
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

/// The next token of each row, which has its part of the `logits`.
fn choose(rows: &mut [Growing], mut logits: Vec<f32>) -> Result<Vec<u32>, Error> {
    let vocabulary = logits.len() / rows.len().max(1);
    let each = rows.iter_mut().zip(logits.chunks_mut(vocabulary.max(1)));
    // What comes of a finished row is dropped.
    let next = |(row, logits): (&mut Growing, &mut [f32])| match row.finished {
        None => Ok(row.sampler.next(logits, &row.context)?),
        Some(_) => Ok(row.tokens[row.tokens.len() - 1]),
    };
    each.map(next).collect()
}

impl Growing<'_> {
    /// Takes the next token, unless the row is finished, and notes whether it was the last one.
    fn grow(&mut self, next: u32, eos: &[u32], on_text: &mut dyn FnMut(&str)) -> Result<(), Error> {
        if self.finished.is_some() {
            return Ok(());
        }
        self.tokens.push(next);
        self.context.push(next);
        if eos.contains(&next) {
            self.finished = Some(FinishReason::Stop);
            return Ok(());
        }
        let piece = self.stream.push(next)?;
        on_text(&piece.text);
        if piece.stopped {
            self.finished = Some(FinishReason::Stop);
        } else if self.tokens.len() >= self.limit {
            self.finished = Some(FinishReason::Length);
        }
        Ok(())
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
    let bytes = || tensor.shape().num_elements() * tensor.dtype().size();
    let data = match host::is_plain(&tensor) {
        true => tensor.try_into_data(),
        false => {
            let work = Work { flops: 0.0, bytes: bytes() as f64 };
            operation("read back", || work, || tensor.try_into_data())
        }
    };
    let data = data.map_err(|error| Error::Device(error.to_string()))?;
    data.convert::<f32>().try_into_vec::<f32>().map_err(|error| Error::Device(format!("{error:?}")))
}
