//! The interval of a mean of rates.

use crate::score::Rate;

/// 95 % interval of the unweighted mean of independent rates, from their own intervals: the distances from rate to
/// limit add up as standard errors do (Zou and Donner 2008, "MOVER"). None where a rate is missing or there are none.
pub(super) fn mean_interval(rates: &[Rate]) -> Option<[f64; 2]> {
    let known: Option<Vec<(f64, [f64; 2])>> = rates.iter().map(|rate| rate.rate.zip(rate.interval)).collect();
    let known = known.filter(|known| !known.is_empty())?;
    let count = known.len() as f64;
    let mean = known.iter().map(|(rate, _)| rate).sum::<f64>() / count;
    let below = known.iter().map(|(rate, [low, _])| (rate - low).powi(2)).sum::<f64>().sqrt() / count;
    let above = known.iter().map(|(rate, [_, high])| (high - rate).powi(2)).sum::<f64>().sqrt() / count;
    Some([(mean - below).max(0.0), (mean + above).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_add_up_as_errors_do() {
        let rate =
            |rate: f64, low: f64, high: f64| Rate { rate: Some(rate), interval: Some([low, high]), ..Rate::default() };
        let one = rate(0.5, 0.4, 0.6);
        assert_eq!(mean_interval(&[one]), Some([0.4, 0.6]));
        // Four of them: half as wide.
        let [low, high] = mean_interval(&[one; 4]).unwrap();
        assert!((low - 0.45).abs() < 1e-12 && (high - 0.55).abs() < 1e-12, "{low} {high}");
        // 3 and 4 below make 5, 0 and 8 above make 8; halved.
        let [low, high] = mean_interval(&[rate(0.5, 0.47, 0.5), rate(0.3, 0.26, 0.38)]).unwrap();
        assert!((low - 0.375).abs() < 1e-12 && (high - 0.44).abs() < 1e-12, "{low} {high}");
        assert_eq!(mean_interval(&[]), None);
        assert_eq!(mean_interval(&[one, Rate::default()]), None);
    }
}
