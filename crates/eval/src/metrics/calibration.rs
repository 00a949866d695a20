//! Whether probabilities mean what they say.

use crate::score::ReliabilityBin;

/// Bins of equal width.
const BINS: usize = 10;

/// Sorts probabilities, each with whether it came true, into ten bins of equal width.
pub fn reliability(rows: impl Iterator<Item = (f32, bool)>) -> Vec<ReliabilityBin> {
    let mut sums = [(0_usize, 0.0_f64, 0_usize); BINS];
    for (probability, came_true) in rows {
        let (rows, confidence, trues) = &mut sums[((probability * BINS as f32) as usize).min(BINS - 1)];
        *rows += 1;
        *confidence += f64::from(probability);
        *trues += usize::from(came_true);
    }
    let bins = sums.into_iter().enumerate().map(|(at, (rows, confidence, trues))| ReliabilityBin {
        from: at as f64 / BINS as f64,
        to: (at + 1) as f64 / BINS as f64,
        rows,
        confidence: (rows > 0).then(|| confidence / rows as f64),
        unsafe_share: (rows > 0).then(|| trues as f64 / rows as f64),
    });
    bins.collect()
}

/// Expected calibration error: the mean distance of confidence and share in the bins, weighted by their rows.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let rows: usize = bins.iter().map(|bin| bin.rows).sum();
    let distance = |bin: &ReliabilityBin| Some((bin.confidence? - bin.unsafe_share?).abs() * bin.rows as f64);
    bins.iter().filter_map(distance).sum::<f64>() / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBABILITIES: [f32; 8] = [0.05, 0.08, 0.35, 0.31, 0.72, 0.79, 0.95, 1.0];
    const UNSAFE: [bool; 8] = [false, true, false, false, true, false, true, true];

    /// numpy 2 and scikit-learn 1.9: `calibration_curve(y, p, n_bins=10)` gives shares 0.5, 0, 0.5, 1 at the mean
    /// probabilities 0.065, 0.33, 0.755, 0.975; two rows each, so the error is the mean of the four distances.
    #[test]
    fn bins_and_error_are_those_of_scikit_learn() {
        let bins = reliability(PROBABILITIES.into_iter().zip(UNSAFE));
        assert_eq!(bins.len(), 10);
        for (bin, confidence, share) in [(0, 0.065, 0.5), (3, 0.33, 0.0), (7, 0.755, 0.5), (9, 0.975, 1.0)] {
            let bin = bins[bin];
            assert_eq!((bin.rows, bin.unsafe_share), (2, Some(share)));
            assert!((bin.confidence.unwrap() - confidence).abs() < 1e-7, "{bin:?}");
        }
        assert_eq!((bins[5].rows, bins[5].confidence, bins[5].from, bins[5].to), (0, None, 0.5, 0.6));
        let error = expected_calibration_error(&bins);
        assert!((error - (0.435 + 0.33 + 0.255 + 0.025) / 4.0).abs() < 1e-7, "{error}");
        assert_eq!(expected_calibration_error(&[]), 0.0);
    }
}
