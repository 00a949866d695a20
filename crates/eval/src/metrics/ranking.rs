//! Flagging what scores highest: curves, areas under them, and thresholds.

use crate::score::Decision;

/// Scores from the highest down. Sorting is the only work; each figure is one pass or one search.
#[derive(Debug, Clone)]
pub struct Ranking {
    scores: Vec<f32>,
    /// Positives among the scores up to and with this one.
    positives: Vec<usize>,
}

impl Ranking {
    /// Ranks scores, none of which is NaN, each with whether its row is a positive.
    pub fn new(rows: impl Iterator<Item = (f32, bool)>) -> Self {
        let mut rows: Vec<(f32, bool)> = rows.collect();
        rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let running = rows.iter().scan(0, |seen, (_, positive)| {
            *seen += usize::from(*positive);
            Some(*seen)
        });
        Self { positives: running.collect(), scores: rows.iter().map(|(score, _)| *score).collect() }
    }

    /// Area under the ROC curve: the probability that a positive scores above a negative, ties counting
    /// half (Mann-Whitney U). `None` unless both kinds occur.
    pub fn auroc(&self) -> Option<f64> {
        let (positives, negatives) = (self.positives(), self.negatives());
        let (mut wins, mut above, mut found) = (0.0, 0, 0);
        for (_, flagged, right) in self.steps() {
            let (high, low) = ((right - found) as f64, (flagged - right - above) as f64);
            (above, found) = (flagged - right, right);
            wins += high * ((negatives - above) as f64 + low / 2.0);
        }
        (positives > 0 && negatives > 0).then(|| wins / (positives as f64 * negatives as f64))
    }

    /// Average precision: the precision at each score, weighted by what recall it adds. `None` unless both kinds occur.
    pub fn average_precision(&self) -> Option<f64> {
        let (mut sum, mut found) = (0.0, 0);
        for (_, flagged, right) in self.steps() {
            sum += (right - found) as f64 * right as f64 / flagged as f64;
            found = right;
        }
        (self.positives() > 0 && self.negatives() > 0).then(|| sum / self.positives() as f64)
    }

    /// What flagging from `threshold` on gives.
    pub fn decision(&self, threshold: f32) -> Decision {
        let flagged = self.scores.partition_point(|score| *score >= threshold);
        let right = flagged.checked_sub(1).map_or(0, |last| self.positives[last]);
        self.decide(threshold, flagged, right)
    }

    /// The score from which on flagging has the highest F1; the higher one where several have, 1 without positives.
    pub fn best(&self) -> Decision {
        let mut best = self.decision(1.0);
        for (score, flagged, right) in self.steps() {
            let at = self.decide(score, flagged, right);
            if at.f1 > best.f1 {
                best = at;
            }
        }
        best
    }

    /// Flagging at 0, 0.01, .. 1.
    pub fn curve(&self) -> Vec<Decision> {
        (0..=100).map(|percent| self.decision(percent as f32 / 100.0)).collect()
    }

    fn positives(&self) -> usize {
        self.positives.last().copied().unwrap_or_default()
    }

    fn negatives(&self) -> usize {
        self.scores.len() - self.positives()
    }

    /// Each score that occurs, how many rows reach it, and how many positives among them.
    fn steps(&self) -> impl Iterator<Item = (f32, usize, usize)> {
        let last_of_its_score = |at: &usize| self.scores.get(at + 1) != Some(&self.scores[*at]);
        (0..self.scores.len()).filter(last_of_its_score).map(|at| (self.scores[at], at + 1, self.positives[at]))
    }

    fn decide(&self, threshold: f32, flagged: usize, true_positives: usize) -> Decision {
        let positives = self.positives();
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        Decision {
            threshold: decimal(threshold),
            true_positives,
            false_positives: flagged - true_positives,
            false_negatives: positives - true_positives,
            true_negatives: self.scores.len() + true_positives - flagged - positives,
            precision: share(true_positives, flagged),
            recall: share(true_positives, positives),
            f1: share(2 * true_positives, flagged + positives).filter(|_| positives > 0),
        }
    }
}

/// The number that `value` is written as: 0.7, not 0.699999988. It becomes the same `f32` again.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking() -> Ranking {
        let scores = [0.1, 0.4, 0.35, 0.8, 0.4, 0.7, 0.2, 0.9, 0.05, 0.7];
        let unsafe_ = [0, 0, 1, 1, 1, 0, 0, 1, 0, 1];
        Ranking::new(scores.into_iter().zip(unsafe_).map(|(score, kind)| (score, kind == 1)))
    }

    /// scikit-learn 1.9, with the scores `s` and kinds `y` of `ranking()`: `roc_auc_score(y, s)`,
    /// `average_precision_score(y, s)`.
    #[test]
    fn areas_are_those_of_scikit_learn() {
        assert!((ranking().auroc().unwrap() - 0.84).abs() < 1e-12, "{:?}", ranking().auroc());
        assert!((ranking().average_precision().unwrap() - 0.8261904761904761).abs() < 1e-12);
        let one_kind = Ranking::new([(0.5, true), (0.6, true)].into_iter());
        assert_eq!((one_kind.auroc(), one_kind.average_precision()), (None, None));
        let ties = Ranking::new([(0.5, true), (0.5, false)].into_iter());
        assert_eq!((ties.auroc(), ties.average_precision()), (Some(0.5), Some(0.5)));
    }

    /// scikit-learn 1.9: `precision_recall_fscore_support(y, s >= 0.4, average="binary")`, `confusion_matrix(y, s >= 0.4)`.
    #[test]
    fn a_decision_is_that_of_scikit_learn() {
        let at = ranking().decision(0.4);
        let counts = (at.true_positives, at.false_positives, at.false_negatives, at.true_negatives);
        assert_eq!(counts, (4, 2, 1, 3));
        assert!((at.precision.unwrap() - 4.0 / 6.0).abs() < 1e-12);
        assert!((at.recall.unwrap() - 0.8).abs() < 1e-12);
        assert!((at.f1.unwrap() - 8.0 / 11.0).abs() < 1e-12);
        assert_eq!(at.threshold, 0.4);
        let nothing = ranking().decision(1.0);
        assert_eq!((nothing.precision, nothing.recall, nothing.f1), (None, Some(0.0), Some(0.0)));
    }

    /// scikit-learn 1.9: `p, r, t = precision_recall_curve(y, s)`; the highest `2 * p * r / (p + r)` is at 0.35.
    #[test]
    fn the_best_threshold_has_the_highest_f1() {
        let best = ranking().best();
        assert_eq!((best.threshold, best.true_positives, best.false_positives), (0.35, 5, 2));
        let curve_best = ranking().curve().into_iter().filter_map(|at| at.f1).fold(0.0, f64::max);
        assert_eq!(best.f1, Some(curve_best));
    }

    #[test]
    fn of_equally_good_thresholds_the_higher_is_taken() {
        // From 0.9 on: one of two found, none wrong. From 0.1 on: both found, two wrong. F1 is 2/3 both times.
        let ranking = Ranking::new([(0.9, true), (0.5, false), (0.4, false), (0.1, true)].into_iter());
        assert_eq!(ranking.best().threshold, 0.9);
        let harmless = Ranking::new([(0.9, false)].into_iter()).best();
        assert_eq!((harmless.threshold, harmless.f1), (1.0, None));
    }

    #[test]
    fn the_curve_has_round_thresholds() {
        let curve = Ranking::new([(0.7, true), (0.0, false)].into_iter()).curve();
        assert_eq!(curve.len(), 101);
        assert_eq!((curve[70].threshold, curve[70].true_positives), (0.7, 1));
        assert_eq!((curve[71].true_positives, curve[0].false_positives, curve[1].false_positives), (0, 1, 0));
    }
}
