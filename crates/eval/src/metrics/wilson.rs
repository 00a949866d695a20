//! The interval of a share.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::score::Rate;

/// The 95 % score interval of Wilson (1927) for the share `errors / scored`; none without rows.
///
/// Unlike the normal approximation it stays within 0 to 1, and it has a width where nothing or everything is an error.
pub fn wilson(errors: usize, scored: usize) -> Option<[f64; 2]> {
    if scored == 0 {
        return None;
    }
    let z = Normal::standard().inverse_cdf(0.975);
    let (n, share) = (scored as f64, errors as f64 / scored as f64);
    let weight = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / weight;
    let half = z / weight * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Some([(centre - half).max(0.0), (centre + half).min(1.0)])
}

impl Rate {
    /// The rate of `errors` among `scored` rows.
    pub fn new(errors: usize, scored: usize) -> Self {
        let rate = (scored > 0).then(|| errors as f64 / scored as f64);
        Self { errors, scored, rate, interval: wilson(errors, scored) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// statsmodels 0.15: `proportion_confint(errors, scored, alpha=0.05, method="wilson")`.
    #[test]
    fn intervals_are_those_of_statsmodels() {
        for (errors, scored, wanted) in WILSON {
            let [low, high] = wilson(errors, scored).unwrap();
            assert!(
                (low - wanted[0]).abs() < 1e-9 && (high - wanted[1]).abs() < 1e-9,
                "{errors}/{scored}: {low} {high}"
            );
        }
        assert_eq!(wilson(0, 0), None);
    }

    const WILSON: [(usize, usize, [f64; 2]); 7] = [
        (2, 682, [0.000804580069411422, 0.010628760274547273]),
        (119, 718, [0.1403325138220665, 0.19470152428347778]),
        (0, 10, [0.0, 0.27753279986288926]),
        (10, 10, [0.7224672001371106, 1.0]),
        (1, 1, [0.2065493143772374, 1.0]),
        (424, 971, [0.40577756468258747, 0.4680480724124964]),
        (500_000, 1_000_000, [0.4990200198900048, 0.5009799801099952]),
    ];
}
