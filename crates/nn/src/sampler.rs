//! Chooses the next token from the logits.

use burn::tensor::{DType, Tensor};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerConfig {
    /// 0 takes the most likely token; above that, logits are divided by it before drawing.
    pub temperature: f64,
    /// Draws from the `k` most likely tokens only.
    pub top_k: Option<usize>,
    /// Draws from the smallest set of tokens whose probabilities reach `p`.
    pub top_p: Option<f64>,
    /// Above 1 makes tokens that already occurred less likely (CTRL, arXiv 1909.05858).
    pub repetition_penalty: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: None, repetition_penalty: 1.0, seed: 0 }
    }
}

impl SamplerConfig {
    /// Whether the most likely token is taken, as the model says it: see [`most_likely`].
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 && self.repetition_penalty == 1.0
    }
}

/// A setting out of range, or logits that are no numbers.
#[derive(Debug, Error, PartialEq)]
pub enum SamplerError {
    /// The setting's name, its value and what is allowed.
    #[error("{name} is {value}, but must be {allowed}")]
    OutOfRange {
        /// Name of the setting.
        name: &'static str,
        /// Value given.
        value: f64,
        /// Values allowed.
        allowed: &'static str,
    },
    /// NaN or infinite logits: the weights are damaged or the device computes wrongly.
    #[error("the model's logits are not finite: check the weights, or run on another device")]
    NotFinite,
}

/// A seeded sampler; the same seed and logits give the same tokens on every machine.
#[derive(Debug)]
pub struct Sampler {
    config: SamplerConfig,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// # Errors
    ///
    /// If a setting is out of range.
    pub fn new(config: SamplerConfig) -> Result<Self, SamplerError> {
        let check = |ok: bool, name, value, allowed| {
            if ok { Ok(()) } else { Err(SamplerError::OutOfRange { name, value, allowed }) }
        };
        let t = config.temperature;
        check(t.is_finite() && t >= 0.0, "temperature", t, "0 or above")?;
        let r = config.repetition_penalty;
        check(r.is_finite() && r > 0.0, "repetition_penalty", r, "above 0")?;
        check(config.top_k != Some(0), "top_k", 0.0, "1 or above")?;
        let p = config.top_p.unwrap_or(1.0);
        check(p > 0.0 && p <= 1.0, "top_p", p, "above 0 and at most 1")?;
        let rng = ChaCha8Rng::seed_from_u64(config.seed);
        Ok(Self { config, rng })
    }

    /// The next token after `context`.
    ///
    /// # Errors
    ///
    /// If a logit is NaN or infinite.
    pub fn next(&mut self, logits: &mut [f32], context: &[u32]) -> Result<u32, SamplerError> {
        if logits.is_empty() || logits.iter().any(|l| !l.is_finite()) {
            return Err(SamplerError::NotFinite);
        }
        self.penalise(logits, context);
        if self.config.temperature == 0.0 {
            return Ok(argmax(logits));
        }
        Ok(self.draw(logits))
    }

    fn penalise(&self, logits: &mut [f32], context: &[u32]) {
        let penalty = self.config.repetition_penalty as f32;
        if penalty == 1.0 {
            return;
        }
        let seen: std::collections::BTreeSet<u32> = context.iter().copied().collect();
        for id in seen {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_unstable_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
        order.truncate(self.config.top_k.unwrap_or(order.len()));
        let best = f64::from(logits[order[0] as usize]);
        let weight = |id: &u32| ((f64::from(logits[*id as usize]) - best) / self.config.temperature).exp();
        let mut weights: Vec<f64> = order.iter().map(weight).collect();
        if let Some(top_p) = self.config.top_p {
            let reach = top_p * weights.iter().sum::<f64>();
            let mut sum = 0.0;
            let kept = weights
                .iter()
                .take_while(|w| {
                    let before = sum;
                    sum += **w;
                    before < reach
                })
                .count();
            weights.truncate(kept.max(1));
        }
        let mut left = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        for (id, weight) in order.iter().zip(&weights) {
            left -= weight;
            if left < 0.0 {
                return *id;
            }
        }
        order[weights.len() - 1]
    }
}

/// The most likely token of each row, chosen on the device that has the logits, so that two numbers a row are read back
/// and not a vocabulary. Of several tokens that are equally likely it takes any.
///
/// # Shapes
///
/// - logits `[rows, vocabulary]`
/// - output `[rows, 2]`: the token's id, and a number that is finite only if all logits are
pub fn most_likely(logits: Tensor<2>) -> Tensor<2> {
    // Every id below 2^24 is exact in f32.
    let logits = logits.cast(DType::F32);
    let best = logits.clone().argmax(1).float().cast(DType::F32);
    Tensor::cat(vec![best, logits.mean_dim(1)], 1)
}

/// The ids in what [`most_likely`] gives, `[rows, 2]` read back.
///
/// # Errors
///
/// If a logit was NaN or infinite.
pub fn ids_of(chosen: &[f32]) -> Result<Vec<u32>, SamplerError> {
    let id = |pair: &[f32]| match pair {
        [id, mean] if mean.is_finite() => Ok(*id as u32),
        _ => Err(SamplerError::NotFinite),
    };
    chosen.chunks(2).map(id).collect()
}

/// Index of the largest value; the first of several.
pub fn argmax(values: &[f32]) -> u32 {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(change: impl FnOnce(&mut SamplerConfig)) -> Result<Sampler, SamplerError> {
        let mut config = SamplerConfig::default();
        change(&mut config);
        Sampler::new(config)
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let mut greedy = sampler(|_| ()).unwrap();
        assert_eq!(greedy.next(&mut [0.0, 3.0, 3.0], &[]), Ok(1));
    }

    #[test]
    fn the_device_chooses_as_the_host_does() {
        let device = burn::tensor::Device::flex();
        let choose = |rows: [[f32; 3]; 2]| {
            ids_of(&most_likely(Tensor::from_data(rows, &device)).into_data().try_into_vec::<f32>().unwrap())
        };
        assert_eq!(choose([[0.0, 3.0, -1.0], [-4.0, -5.0, -3.5]]), Ok(vec![1, 2]));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(choose([[0.0, 3.0, -1.0], [-4.0, bad, -3.5]]), Err(SamplerError::NotFinite), "{bad}");
        }
        let greedy = SamplerConfig::default();
        assert!(greedy.is_greedy());
        assert!(!SamplerConfig { repetition_penalty: 1.1, ..greedy.clone() }.is_greedy());
        assert!(!SamplerConfig { temperature: 0.1, ..greedy }.is_greedy());
    }

    #[test]
    fn the_penalty_pushes_seen_tokens_down() {
        let mut greedy = sampler(|c| c.repetition_penalty = 2.0).unwrap();
        assert_eq!(greedy.next(&mut [1.9, 3.0, -1.0], &[1, 1, 7]), Ok(0));
        assert_eq!(greedy.next(&mut [-1.0, -1.5], &[0]), Ok(1));
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let mut logits = [5.0, 4.9, -3.0, -4.0];
        for seed in 0..50 {
            let mut top_k = sampler(|c| (c.temperature, c.top_k, c.seed) = (5.0, Some(2), seed)).unwrap();
            assert!(top_k.next(&mut logits, &[]).unwrap() < 2);
            let mut top_p = sampler(|c| (c.temperature, c.top_p, c.seed) = (1.0, Some(0.4), seed)).unwrap();
            assert_eq!(top_p.next(&mut logits, &[]), Ok(0));
        }
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let draw = |seed| {
            let mut s = sampler(|c| (c.temperature, c.seed) = (1.0, seed)).unwrap();
            (0..2000).map(|_| s.next(&mut [0.0, 3f32.ln()], &[]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let ones = draw(7).iter().filter(|id| **id == 1).count();
        assert!((1400..1600).contains(&ones), "{ones} of 2000, expected about 1500");
    }

    #[test]
    fn damaged_logits_and_settings_are_errors() {
        let mut greedy = sampler(|_| ()).unwrap();
        assert_eq!(greedy.next(&mut [0.0, f32::NAN], &[]), Err(SamplerError::NotFinite));
        assert_eq!(greedy.next(&mut [], &[]), Err(SamplerError::NotFinite));
        assert!(sampler(|c| c.temperature = -1.0).is_err());
        assert!(sampler(|c| c.temperature = f64::NAN).is_err());
        assert!(sampler(|c| c.top_k = Some(0)).is_err());
        assert!(sampler(|c| c.top_p = Some(1.5)).is_err());
        assert!(sampler(|c| c.repetition_penalty = 0.0).is_err());
    }
}
