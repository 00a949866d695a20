//! What judging took and cost.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Prices of a million tokens, in any currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Of the prompt, pictures included.
    pub input: f64,
    /// Of the reply.
    pub output: f64,
}

/// What a judge was asked since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LlmUsage {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Requests that had to be sent again.
    pub retries: u64,
    /// Rows whose judgement was in the cache.
    pub cache_hits: u64,
    /// Rows that were asked for and answered.
    pub replies: u64,
    /// Of these: replies that did not say how many tokens they took, so that the totals lack them.
    pub replies_without_usage: u64,
    /// Tokens of prompts and pictures, as the endpoint counts them.
    pub prompt_tokens: u64,
    /// Tokens of replies.
    pub completion_tokens: u64,
    /// In the prices' currency; none without prices.
    pub cost: Option<f64>,
}

impl LlmUsage {
    pub(super) fn with_cost(mut self, prices: Option<Prices>) -> Self {
        let million = |tokens: u64, price: f64| tokens as f64 * price / 1e6;
        self.cost = prices.map(|p| million(self.prompt_tokens, p.input) + million(self.completion_tokens, p.output));
        self
    }
}

impl fmt::Display for LlmUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, retries, cache_hits, prompt_tokens, completion_tokens, .. } = self;
        write!(f, "{requests} requests ({retries} retries), {cache_hits} judgements from the cache, ")?;
        write!(f, "{prompt_tokens} tokens in, {completion_tokens} out")?;
        if let Some(cost) = self.cost {
            write!(f, ", cost {cost:.2}")?;
        }
        if self.replies_without_usage > 0 {
            write!(f, ", {} replies without a count of tokens", self.replies_without_usage)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_tokens_times_price() {
        let usage =
            LlmUsage { requests: 3, prompt_tokens: 2_000_000, completion_tokens: 500_000, ..Default::default() };
        let priced = usage.with_cost(Some(Prices { input: 2.5, output: 10.0 }));
        assert_eq!(priced.cost, Some(10.0));
        assert_eq!(
            priced.to_string(),
            "3 requests (0 retries), 0 judgements from the cache, 2000000 tokens in, 500000 out, cost 10.00"
        );
        assert_eq!(usage.with_cost(None).cost, None);
    }
}
