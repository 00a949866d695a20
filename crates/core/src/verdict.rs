//! What the guard says about one image.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::taxonomy::Taxonomy;

/// How far the probabilities' sum may be from one: f32 rounding of 20 terms, with room for backends
/// that round less carefully.
const SUM_TOLERANCE: f32 = 1e-3;

/// How far a single probability may be outside 0..=1 for the same reason.
const RANGE_TOLERANCE: f32 = 1e-5;

/// The verdict on one image. Its JSON form is the `safety` object of `safevlm chat --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The label of the most probable class, in the checkpoint's own words.
    pub label: String,
    /// The index of that class.
    pub label_id: usize,
    /// The top category of that class; `None` for `safe`.
    pub category: Option<String>,
    /// Whether `unsafe_probability` reaches the threshold. This is the decision; the most probable
    /// class may still be `safe` when the danger is spread over several classes.
    pub flagged: bool,
    /// One minus the probability of `safe`, 0 to 1.
    pub unsafe_probability: f32,
    /// The threshold that was used, 0 to 1.
    pub threshold: f32,
    /// The probability of each label, in the order of the class ids.
    pub probabilities: IndexMap<String, f32>,
}

/// Why probabilities are no verdict. Never treat one of these as "safe".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VerdictError {
    /// The guard head has another number of outputs than there are labels.
    #[error(
        "the guard gave {found} probabilities for {expected} labels; \
         make `safety_categories` in config.json fit the checkpoint"
    )]
    WrongLength {
        /// The number of labels.
        expected: usize,
        /// The number of probabilities.
        found: usize,
    },
    /// A probability is NaN, infinite, or outside 0..=1.
    #[error(
        "the guard gave {value} as the probability of `{label}`, so there is no verdict; \
         check the weights with `safevlm import`, or try `--device flex`"
    )]
    NotAProbability {
        /// The label.
        label: String,
        /// The value.
        value: f32,
    },
    /// The probabilities do not sum to one.
    #[error(
        "the guard's probabilities sum to {sum} instead of 1, so there is no verdict; \
         check the weights with `safevlm import`, or try `--device flex`"
    )]
    WrongSum {
        /// The sum.
        sum: f32,
    },
    /// The threshold is NaN or outside 0..=1.
    #[error("the threshold {threshold} is not between 0 and 1; give a number such as 0.5")]
    BadThreshold {
        /// The threshold.
        threshold: f32,
    },
}

impl Verdict {
    /// Makes a verdict of a guard head's probabilities (after softmax), one for each label.
    ///
    /// # Errors
    ///
    /// A wrong number of values, a value that is not finite or outside 0..=1, a sum that is not one,
    /// or a threshold outside 0..=1. The guard fails closed: none of these is ever a "safe".
    pub fn from_probabilities(
        probabilities: &[f32],
        taxonomy: &Taxonomy,
        threshold: f32,
    ) -> Result<Verdict, VerdictError> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(VerdictError::BadThreshold { threshold });
        }
        if probabilities.len() != taxonomy.len() {
            return Err(VerdictError::WrongLength { expected: taxonomy.len(), found: probabilities.len() });
        }
        let allowed = -RANGE_TOLERANCE..=1.0 + RANGE_TOLERANCE;
        for (label, &value) in taxonomy.labels().iter().zip(probabilities) {
            if !allowed.contains(&value) {
                return Err(VerdictError::NotAProbability { label: label.clone(), value });
            }
        }
        let sum: f32 = probabilities.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(VerdictError::WrongSum { sum });
        }

        let mut label_id = 0;
        for (id, &value) in probabilities.iter().enumerate() {
            if value > probabilities[label_id] {
                label_id = id;
            }
        }
        let unsafe_probability = (1.0 - probabilities[taxonomy.safe_id()]).clamp(0.0, 1.0);
        Ok(Verdict {
            label: taxonomy.labels()[label_id].clone(),
            label_id,
            category: taxonomy.category_of(label_id).map(str::to_owned),
            flagged: unsafe_probability >= threshold,
            unsafe_probability,
            threshold,
            probabilities: taxonomy
                .labels()
                .iter()
                .cloned()
                .zip(probabilities.iter().map(|value| value.clamp(0.0, 1.0)))
                .collect(),
        })
    }

    /// The `count` most probable labels, most probable first; equal ones in the order of their ids.
    pub fn top(&self, count: usize) -> Vec<(&str, f32)> {
        let mut all: Vec<(&str, f32)> =
            self.probabilities.iter().map(|(label, &value)| (label.as_str(), value)).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probabilities(of: &[(usize, f32)]) -> Vec<f32> {
        let mut all = vec![0.0; 20];
        for &(id, value) in of {
            all[id] = value;
        }
        all
    }

    fn verdict(of: &[(usize, f32)], threshold: f32) -> Result<Verdict, VerdictError> {
        Verdict::from_probabilities(&probabilities(of), &Taxonomy::default(), threshold)
    }

    #[test]
    fn the_json_form_is_the_contract() {
        let verdict = verdict(&[(0, 0.25), (16, 0.75)], 0.5).unwrap();
        let json = serde_json::to_value(&verdict).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["label", "label_id", "category", "flagged", "unsafe_probability", "threshold", "probabilities"]
        );
        assert_eq!(json["label"], "weapon_related_violence");
        assert_eq!(json["label_id"], 16);
        assert_eq!(json["category"], "violence");
        assert_eq!(json["flagged"], true);
        assert_eq!(json["unsafe_probability"], 0.75);
        let names: Vec<&String> = json["probabilities"].as_object().unwrap().keys().collect();
        assert_eq!(names, Taxonomy::default().labels().iter().collect::<Vec<_>>());
        assert_eq!(serde_json::from_value::<Verdict>(json).unwrap(), verdict);
    }

    #[test]
    fn the_threshold_is_inclusive_and_decides_alone() {
        assert!(verdict(&[(0, 0.5), (1, 0.5)], 0.5).unwrap().flagged);
        let spread = verdict(&[(0, 0.4), (1, 0.3), (2, 0.3)], 0.5).unwrap();
        assert_eq!(spread.label, "safe");
        assert_eq!(spread.category, None);
        assert!(spread.flagged);
        assert!(!verdict(&[(0, 0.6), (1, 0.4)], 0.5).unwrap().flagged);
    }

    #[test]
    fn the_top_classes_come_in_order() {
        let verdict = verdict(&[(0, 0.2), (3, 0.7), (5, 0.1)], 0.5).unwrap();
        assert_eq!(verdict.top(2), [("religion", 0.7), ("safe", 0.2)]);
        assert_eq!(verdict.top(100).len(), 20);
    }

    #[test]
    fn rounding_is_forgiven_and_clamped() {
        let verdict = verdict(&[(0, 1.000_001), (1, -0.000_001)], 0.5).unwrap();
        assert_eq!(verdict.unsafe_probability, 0.0);
        assert_eq!(verdict.probabilities["safe"], 1.0);
        assert_eq!(verdict.probabilities["gender"], 0.0);
    }

    #[test]
    fn what_is_no_distribution_is_an_error() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1, 1.1] {
            assert!(matches!(
                verdict(&[(0, 1.0), (7, bad)], 0.5),
                Err(VerdictError::NotAProbability { label, .. }) if label == "property_crime"
            ));
        }
        assert!(matches!(verdict(&[], 0.5), Err(VerdictError::WrongSum { .. })));
        assert!(matches!(verdict(&[(0, 0.9), (1, 0.9)], 0.5), Err(VerdictError::WrongSum { .. })));
        assert!(matches!(
            Verdict::from_probabilities(&[1.0], &Taxonomy::default(), 0.5),
            Err(VerdictError::WrongLength { expected: 20, found: 1 })
        ));
        for bad in [f32::NAN, -0.1, 1.1] {
            assert!(matches!(verdict(&[(0, 1.0)], bad), Err(VerdictError::BadThreshold { .. })));
        }
    }
}
