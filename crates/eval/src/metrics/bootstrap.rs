//! Whether two rates that were measured on the same rows differ (Efron and Tibshirani 1993, chapters 13 and 16).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};
use statrs::statistics::{Data, OrderStatistics};

/// A difference of two rates with what a paired bootstrap says about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The first run's rate.
    pub first: f64,
    /// The second run's.
    pub second: f64,
    /// `second - first`: negative where the second is better.
    pub difference: f64,
    /// 95 % percentile interval of the difference.
    pub interval: [f64; 2],
    /// Two-sided: how easily a difference like this comes by chance.
    pub p_value: f64,
}

/// Rows of one kind that two runs share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairedCounts {
    /// All of them.
    pub rows: usize,
    /// An error in the first run only.
    pub first_only: usize,
    /// An error in the second run only.
    pub second_only: usize,
    /// An error in both.
    pub both: usize,
}

/// The differences of one kind's rates in many resamples of its rows.
#[derive(Debug, Clone)]
pub struct Resamples {
    first: f64,
    second: f64,
    differences: Vec<f64>,
}

impl PairedCounts {
    /// Draws `count` resamples, each as many pairs of rows as there are, with replacement; none without rows.
    ///
    /// A resample's difference depends on two numbers only: how many pairs with one sole error it has, and how many
    /// with the other. Together they are multinomial, and two binomial draws give them. So a million rows take no
    /// longer than a thousand, and the result is that of drawing row by row.
    pub fn resample(&self, count: usize, seed: u64) -> Option<Resamples> {
        if self.rows == 0 {
            return None;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rows = self.rows as f64;
        let remaining = (self.rows - self.second_only).max(1) as f64;
        let differences = (0..count).map(|_| {
            let second = draw(&mut random, self.rows, self.second_only as f64 / rows);
            let first = draw(&mut random, self.rows - second, self.first_only as f64 / remaining);
            (second as f64 - first as f64) / rows
        });
        Some(Resamples {
            differences: differences.collect(),
            first: (self.first_only + self.both) as f64 / rows,
            second: (self.second_only + self.both) as f64 / rows,
        })
    }
}

impl Resamples {
    /// The unweighted mean of several kinds, resample by resample; none of none.
    pub fn mean(kinds: &[&Self]) -> Option<Self> {
        let count = kinds.iter().map(|kind| kind.differences.len()).min()?;
        let mean = |of: &dyn Fn(&Self) -> f64| kinds.iter().map(|kind| of(kind)).sum::<f64>() / kinds.len() as f64;
        Some(Self {
            first: mean(&|kind| kind.first),
            second: mean(&|kind| kind.second),
            differences: (0..count).map(|at| mean(&|kind| kind.differences[at])).collect(),
        })
    }

    /// The difference, its interval, and twice the share of resamples on the far side of none.
    pub fn difference(&self) -> Difference {
        let below = self.differences.iter().filter(|difference| **difference <= 0.0).count();
        let above = self.differences.iter().filter(|difference| **difference >= 0.0).count();
        // The rows as they are count as one resample, so that no p is 0.
        let p_value = 2.0 * (below.min(above) + 1) as f64 / (self.differences.len() + 1) as f64;
        let mut sorted = Data::new(self.differences.clone());
        Difference {
            first: self.first,
            second: self.second,
            difference: self.second - self.first,
            interval: [sorted.quantile(0.025), sorted.quantile(0.975)],
            p_value: p_value.min(1.0),
        }
    }
}

/// A binomial number of `trials` by inversion of its distribution function.
fn draw(random: &mut ChaCha8Rng, trials: usize, probability: f64) -> usize {
    // 53 random bits are a number from 0 to below 1.
    let height = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let Ok(binomial) = Binomial::new(probability.clamp(0.0, 1.0), trials as u64) else { return 0 };
    if probability <= 0.0 || probability >= 1.0 {
        return if probability <= 0.0 { 0 } else { trials };
    }
    let (mut low, mut high) = (0, trials as u64);
    while low < high {
        let middle = low + (high - low) / 2;
        match binomial.cdf(middle) > height {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSU: PairedCounts = PairedCounts { rows: 700, first_only: 70, second_only: 40, both: 30 };
    const SUU: PairedCounts = PairedCounts { rows: 900, first_only: 5, second_only: 12, both: 0 };

    /// numpy 2, 200,000 resamples: `c = default_rng(0).multinomial(n, [plus / n, minus / n, rest], size=200000)`,
    /// `d = (c[:, 0] - c[:, 1]) / n`, `quantile(d, [.025, .975])`, `2 * min((d <= 0).mean(), (d >= 0).mean())`;
    /// the mean of SSU's and SUU's for the last.
    #[test]
    fn intervals_are_those_of_numpy() {
        let (ssu, suu) = (SSU.resample(10_000, 1).unwrap(), SUU.resample(10_000, 2).unwrap());
        let mean = Resamples::mean(&[&ssu, &suu]).unwrap();
        for (found, difference, low, high, p) in [
            (ssu.difference(), -30.0 / 700.0, -0.07142857, -0.01428571, 0.00472),
            (suu.difference(), 7.0 / 900.0, -0.00111111, 0.01666667, 0.10596),
            (mean.difference(), -0.017539682, -0.03277778, -0.00230159, 0.02409),
        ] {
            assert!((found.difference - difference).abs() < 1e-8, "{found:?}");
            assert!((found.interval[0] - low).abs() < 0.0016 && (found.interval[1] - high).abs() < 0.0016, "{found:?}");
            assert!((found.p_value - p).abs() < 0.2 * p, "{found:?}");
        }
        assert_eq!((ssu.first, ssu.second), (100.0 / 700.0, 70.0 / 700.0));
    }

    #[test]
    fn draws_have_the_mean_and_spread_of_the_binomial() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let draws: Vec<f64> = (0..4000).map(|_| draw(&mut random, 50, 0.3) as f64).collect();
        let mean = draws.iter().sum::<f64>() / 4000.0;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 3999.0;
        assert!((mean - 15.0).abs() < 0.2 && (variance - 10.5).abs() < 1.0, "{mean} {variance}");
        assert_eq!((draw(&mut random, 9, 0.0), draw(&mut random, 9, 1.0), draw(&mut random, 0, 0.5)), (0, 9, 0));
    }

    #[test]
    fn the_same_seed_gives_the_same_figures() {
        let figures = |seed| SSU.resample(500, seed).unwrap().difference();
        assert_eq!(figures(7), figures(7));
        assert_ne!(figures(7).interval, figures(8).interval);
    }

    #[test]
    fn equal_runs_do_not_differ() {
        let same = PairedCounts { rows: 10, both: 4, ..PairedCounts::default() }.resample(100, 0).unwrap().difference();
        assert_eq!((same.difference, same.interval, same.p_value), (0.0, [0.0, 0.0], 1.0));
        assert!(PairedCounts::default().resample(100, 0).is_none() && Resamples::mean(&[]).is_none());
    }
}
