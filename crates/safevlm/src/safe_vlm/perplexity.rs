//! How well a model predicts a text: what quantization, or training, costs it as a language model.

use safevlm_family::{Family, Loaded};
use safevlm_nn::{Padding, vlm};
use serde::Serialize;

use super::{SafeVlm, prefill};
use crate::error::Error;
use crate::generate::to_vec;

/// Tokens whose logits are made at once: those of a large vocabulary take half a megabyte each.
const ROWS: usize = 64;

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Perplexity {
    /// Tokens that were predicted: all but the first one of each window.
    pub tokens: usize,
    /// Parts of the text, which know nothing of each other.
    pub windows: usize,
    /// Mean of the negative natural logarithms of the tokens' probabilities.
    pub cross_entropy: f64,
    /// `exp(cross_entropy)`.
    pub perplexity: f64,
}

impl SafeVlm {
    /// Predicts `text` in windows of so many tokens that do not overlap. `on_window` hears how many are done, and of
    /// how many.
    ///
    /// # Errors
    ///
    /// If the text has fewer than two tokens, the window has fewer or does not fit the context, or the device fails.
    pub fn perplexity(
        &self,
        text: &str,
        window: usize,
        on_window: &mut dyn FnMut(usize, usize),
    ) -> Result<Perplexity, Error> {
        with_model!(&self.model, loaded => self.perplexity_with(loaded, text, window, on_window))
    }

    fn perplexity_with<F: Family>(
        &self,
        loaded: &Loaded<F>,
        text: &str,
        window: usize,
        on_window: &mut dyn FnMut(usize, usize),
    ) -> Result<Perplexity, Error> {
        let context = loaded.context();
        if window > context {
            return Err(Error::ContextLength { prompt: window, context });
        }
        let ids = loaded.family.tokenizer().encode(text)?;
        // A last token alone would be predicted from nothing.
        let windows: Vec<&[u32]> = ids.chunks(window.max(1)).filter(|window| window.len() > 1).collect();
        let tokens: usize = windows.iter().map(|window| window.len() - 1).sum();
        if tokens == 0 {
            return Err(Error::EmptyPrompt);
        }
        let mut lost = 0.0;
        for (nth, ids) in windows.iter().enumerate() {
            lost += self.surprise(loaded, ids)?;
            on_window(nth + 1, windows.len());
        }
        let cross_entropy = lost / tokens as f64;
        Ok(Perplexity { tokens, windows: windows.len(), cross_entropy, perplexity: cross_entropy.exp() })
    }

    /// The sum of the negative logarithms of the probabilities of all ids but the first.
    fn surprise<F: Family>(&self, loaded: &Loaded<F>, ids: &[u32]) -> Result<f64, Error> {
        let inputs = loaded.family.inputs_of(vec![ids.to_vec()], Padding::Right, &[], &self.device)?;
        let hidden = prefill(loaded, &inputs, None, &self.device)?.hidden;
        let [_, tokens, width] = hidden.dims();
        let hidden = hidden.reshape([tokens, width]);
        let mut lost = 0.0;
        for (nth, next) in ids[1..].chunks(ROWS).enumerate() {
            let logits = vlm::logits(&loaded.model.language_model, hidden.clone().narrow(0, nth * ROWS, next.len()));
            let logits = to_vec(logits)?;
            let vocabulary = logits.len() / next.len();
            lost += logits.chunks(vocabulary).zip(next).map(|(logits, id)| negative_log(logits, *id)).sum::<f64>();
        }
        Ok(lost)
    }
}

/// `-ln softmax(logits)[id]`.
fn negative_log(logits: &[f32], id: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    sum.ln() - f64::from(logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY) - most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_logits_are_worth_the_logarithm_of_their_number() {
        assert!((negative_log(&[3.0; 8], 5) - 8f64.ln()).abs() < 1e-12);
        assert!(negative_log(&[0.0, 200.0], 1) < 1e-12);
        assert!((negative_log(&[0.0, 200.0], 0) - 200.0).abs() < 1e-9);
    }
}
