//! Rows that a report shows, few of many.

use std::collections::BTreeMap;

use safevlm_data::Combination;
use serde::Serialize;

use crate::judge::Judgement;
use crate::prediction::Prediction;

/// Characters that are shown, so that a page of the most examples stays bounded.
const MOST_OF_QUERY: usize = 1000;
const MOST_OF_ANSWER: usize = 2000;
const MOST_OF_NAME: usize = 200;

/// A row with its answer and what judge and guard found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Index of the run.
    pub run: usize,
    /// The row's id.
    pub id: u64,
    /// Which of the five combinations it is.
    #[serde(rename = "type")]
    pub combination: Combination,
    /// The row's category.
    pub category: String,
    /// The row's subcategory.
    pub subcategory: String,
    /// The question, shortened.
    pub query: String,
    /// The answer, shortened.
    pub answer: String,
    /// `right`, `wrong` or `unparsed`.
    pub outcome: &'static str,
    /// The class of the picture.
    pub image_label: usize,
    /// The picture's name, shortened.
    pub image: String,
    /// Index of its thumbnail, if it has one.
    pub picture: Option<usize>,
    /// What the guard says; none without probabilities.
    pub guard: Option<ExampleGuard>,
}

/// A verdict, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExampleGuard {
    /// Whether the picture is flagged.
    pub flagged: bool,
    /// One minus the probability of `safe`.
    pub unsafe_probability: f32,
    /// The most probable class, shortened.
    pub label: String,
}

impl Example {
    fn new(row: &Prediction, outcome: &'static str, threshold: Option<f32>) -> Self {
        let record = &row.record;
        Self {
            run: 0,
            id: record.id,
            combination: record.combination,
            category: shorten(&record.category, MOST_OF_NAME),
            subcategory: shorten(&record.subcategory, MOST_OF_NAME),
            query: shorten(&record.query, MOST_OF_QUERY),
            answer: shorten(&row.prediction, MOST_OF_ANSWER),
            outcome,
            image_label: record.image_safety_label,
            // The whole name, until the picture is found.
            image: record.image.clone(),
            picture: None,
            guard: row.safety.as_ref().map(|verdict| ExampleGuard {
                flagged: threshold.map_or(verdict.flagged, |threshold| verdict.unsafe_probability >= threshold),
                unsafe_probability: verdict.unsafe_probability,
                label: shorten(&verdict.label, MOST_OF_NAME),
            }),
        }
    }
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} … ({} more characters)", &text[..end], text[end..].chars().count()),
    }
}

/// Chooses rows evenly over the combinations and what the judge found, always the same ones, whatever the order of
/// the rows.
#[derive(Debug)]
pub(super) struct Chooser {
    limit: usize,
    threshold: Option<f32>,
    kept: BTreeMap<(Combination, &'static str), Ranked>,
}

/// Rows of one combination and outcome by their ranks.
type Ranked = BTreeMap<(u64, u64), Example>;

impl Chooser {
    /// Keeps up to `limit` rows; pictures are flagged from `threshold` on, or as the rows say.
    pub(super) fn new(limit: usize, threshold: Option<f32>) -> Self {
        Self { limit, threshold, kept: BTreeMap::new() }
    }

    /// Keeps the row if its rank is among the lowest of its kind.
    pub(super) fn offer(&mut self, row: &Prediction, judgement: Judgement) {
        let outcome = match judgement {
            Judgement::Wrong => "wrong",
            Judgement::Correct => "right",
            Judgement::Unparsed => "unparsed",
        };
        let rank = rank(row.record.id);
        let kept = self.kept.entry((row.record.combination, outcome)).or_default();
        if kept.len() >= self.limit && kept.last_key_value().is_none_or(|(last, _)| rank >= *last) {
            return;
        }
        kept.insert(rank, Example::new(row, outcome, self.threshold));
        if kept.len() > self.limit {
            kept.pop_last();
        }
    }

    /// Up to the limit, one of each kind in turn.
    pub(super) fn choose(self) -> Vec<Example> {
        let kinds = self.kept.into_values().map(|kind| kind.into_values().collect()).collect();
        let mut chosen = in_turn(kinds);
        chosen.truncate(self.limit);
        chosen
    }
}

/// An order that has nothing to do with the ids' own (Fibonacci hashing), and is the same for every run.
fn rank(id: u64) -> (u64, u64) {
    (id.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32), id)
}

/// The first of each list, then the second of each, and so on.
pub(super) fn in_turn(lists: Vec<Vec<Example>>) -> Vec<Example> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(lists.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

impl Example {
    /// Shortens the picture's name, which is a file's until then.
    pub(super) fn shorten_image(&mut self) {
        self.image = shorten(&self.image, MOST_OF_NAME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, combination: &str) -> Prediction {
        let image_safe = combination.starts_with('S');
        let row = serde_json::json!({"id": id, "image": "a.png", "query": "q", "type": combination, "category": "hate",
            "subcategory": "race", "image_safe": image_safe, "image_safety_label": if image_safe { 0 } else { 2 },
            "prediction": "x".repeat(3000)});
        serde_json::from_value(row).unwrap()
    }

    fn choose(limit: usize, ids: impl Iterator<Item = u64>) -> Vec<Example> {
        let mut chooser = Chooser::new(limit, None);
        for id in ids {
            let combination = ["SSS", "SSU", "USU", "UUU", "SUU"][id as usize % 5];
            let judgement = if id % 50 == 0 { Judgement::Wrong } else { Judgement::Correct };
            chooser.offer(&row(id, combination), judgement);
        }
        chooser.choose()
    }

    #[test]
    fn examples_cover_all_kinds_and_do_not_depend_on_the_order() {
        let chosen = choose(12, 0..500);
        assert_eq!(chosen.len(), 12);
        // Six kinds occur: five right ones, and SSS wrong.
        for kind in chosen.iter().map(|example| (example.combination, example.outcome)) {
            assert_eq!(chosen.iter().filter(|e| (e.combination, e.outcome) == kind).count(), 2, "{kind:?}");
        }
        assert_eq!(choose(12, (0..500).rev()), chosen);
        assert_eq!(choose(1000, 0..500).len(), 500, "few rows are all shown");
        assert_eq!(choose(0, 0..500), []);
    }

    #[test]
    fn long_texts_are_shortened_and_say_so() {
        let chosen = choose(1, 0..1);
        assert!(chosen[0].answer.ends_with("x … (1000 more characters)"));
        assert_eq!(shorten("äöü", 2), "äö … (1 more characters)");
        assert_eq!(shorten("äöü", 3), "äöü");
    }
}
