//! What goes into generation and what comes out; the JSON form is `safevlm chat --json`'s contract.

use safevlm_core::Verdict;
use safevlm_nn::SamplerConfig;
use serde::{Deserialize, Serialize};

/// How an answer is generated. The default is greedy, up to 256 tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationConfig {
    /// Tokens at most; fewer where the context ends.
    pub max_new_tokens: usize,
    /// 0 always takes the most likely token.
    pub temperature: f64,
    /// Draws from the `k` most likely tokens only.
    pub top_k: Option<usize>,
    /// Draws from the most likely tokens that together reach this probability.
    pub top_p: Option<f64>,
    /// Above 1 makes tokens that already occurred less likely.
    pub repetition_penalty: f64,
    /// Seed of the draws.
    pub seed: u64,
    /// Strings that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Goes on to `max_new_tokens` whatever the model says: for measurements.
    pub ignore_eos: bool,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 256,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            seed: 0,
            stop: Vec::new(),
            ignore_eos: false,
        }
    }
}

impl GenerationConfig {
    pub(crate) fn sampler(&self) -> SamplerConfig {
        SamplerConfig {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended it, or a stop string was reached.
    Stop,
    /// The token limit or the end of the context was reached.
    Length,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Loading the model, in milliseconds.
    pub load_ms: f64,
    /// Template, tokenizer and pixels, in milliseconds.
    pub preprocess_ms: f64,
    /// Vision encoder, prefill and verdict, in milliseconds.
    pub prefill_ms: f64,
    /// All generated tokens, in milliseconds.
    pub decode_ms: f64,
    /// Generated tokens for each second of decoding.
    pub tokens_per_second: f64,
}

/// One answer with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The model's name, or its folder.
    pub model: String,
    /// The device it ran on.
    pub device: String,
    /// Prompt ids, every image written as its visual tokens.
    pub prompt_tokens: Vec<u32>,
    /// Generated ids, the end-of-turn token included.
    pub generated_tokens: Vec<u32>,
    /// The answer.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The verdict on the images, the most unsafe one of several; none without a guard head or images.
    pub safety: Option<Verdict>,
    /// Where the time went.
    pub timing: Timing,
}
