//! Numbers about a classifier.

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counting
/// half (Mann-Whitney U). `None` unless both kinds occur.
pub fn auroc(scores: &[(f32, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|(_, positive)| *positive).count();
    let negatives = sorted.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let high = tied.iter().filter(|(_, positive)| *positive).count() as f64;
        let low = tied.len() as f64 - high;
        wins += high * (below + low / 2.0);
        below += low;
    }
    Some(wins / (positives as f64 * negatives as f64))
}

/// Mean F1 over the classes that occur or are guessed. Pairs are (guess, truth).
pub fn macro_f1(pairs: &[(usize, usize)], classes: usize) -> f64 {
    let (mut sum, mut seen) = (0.0, 0);
    for class in 0..classes {
        let both = pairs.iter().filter(|(g, t)| *g == class && *t == class).count() as f64;
        let either = pairs.iter().map(|(g, t)| usize::from(*g == class) + usize::from(*t == class)).sum::<usize>();
        if either > 0 {
            sum += 2.0 * both / either as f64;
            seen += 1;
        }
    }
    sum / f64::from(seen.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auroc_counts_pairs() {
        let scores = [(0.1, false), (0.4, true), (0.4, false), (0.8, true)];
        // Of four pairs three are won and one is tied.
        assert_eq!(auroc(&scores), Some(3.5 / 4.0));
        assert_eq!(auroc(&[(0.5, true)]), None);
    }

    #[test]
    fn macro_f1_is_the_mean_over_seen_classes() {
        // Class 0: one right, one missed (F1 2/3). Class 1: one right, one false alarm (2/3).
        let f1 = macro_f1(&[(0, 0), (1, 0), (1, 1)], 20);
        assert!((f1 - 2.0 / 3.0).abs() < 1e-9, "{f1}");
    }
}
