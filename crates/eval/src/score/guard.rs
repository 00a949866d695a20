//! The guard's probabilities of all rows, and the figures of them.

use safevlm::{CLASSES, Category, Class, Taxonomy, Verdict};
use safevlm_data::Record;
use sha2::{Digest, Sha256};

use super::{Calibration, Chosen, GuardScore, Temperature};
use crate::error::EvalError;
use crate::metrics::{Confusion, Ranking, Temper, expected_calibration_error, fit_temperature, reliability};

/// Labels of a guard at most: a row's class takes one byte, and the confusion matrix stays small.
const MOST_LABELS: usize = 255;

/// With fewer rows in one half, no temperature is fitted.
const FEWEST_ROWS: usize = 50;

/// What is kept of each row: its probabilities and seven bytes.
#[derive(Debug)]
pub(super) struct GuardRows {
    threshold: Option<f32>,
    /// Whether the rows' own thresholds count for nothing.
    fixed: bool,
    labels: Option<Labels>,
    /// All rows' probabilities, one row behind another.
    probabilities: Vec<f32>,
    unsafe_probabilities: Vec<f32>,
    /// The label of each row's class.
    truths: Vec<u8>,
    guesses: Vec<u8>,
    /// Whether the row is one of those that a temperature is fitted on: half of the images, or another file's.
    fitted: Vec<bool>,
}

/// A guard's labels, and which one means each of the benchmark's classes.
#[derive(Debug)]
struct Labels {
    taxonomy: Taxonomy,
    of_class: Vec<Option<usize>>,
}

impl Labels {
    fn new(verdict: &Verdict) -> Result<Self, String> {
        let labels: Vec<String> = verdict.probabilities.keys().cloned().collect();
        if labels.len() > MOST_LABELS {
            return Err(format!("are more than {MOST_LABELS}; check the file"));
        }
        let taxonomy = Taxonomy::new(labels).map_err(|error| format!("do not fit: {error}"))?;
        // A label of the checkpoint's own words stands for the class whose id is its place.
        let at_its_place = |class: &Class| (class.id < taxonomy.len()).then_some(class.id);
        let unknown = |id: &usize| taxonomy.class_of(*id).is_none();
        let of = |class: &Class| taxonomy.id_of(class.name).or_else(|| at_its_place(class).filter(unknown));
        Ok(Self { of_class: CLASSES.iter().map(of).collect(), taxonomy })
    }

    /// The label of a row's class.
    fn truth(&self, record: &Record) -> Result<usize, String> {
        let of_class = self.of_class.get(record.image_safety_label).copied().flatten();
        let name = CLASSES.get(record.image_safety_label).map_or("of the image", |class| class.name);
        of_class.ok_or_else(|| format!("lack the class {name}; name it in the model's `safety_categories`"))
    }
}

impl GuardRows {
    pub(super) fn new(threshold: Option<f32>) -> Self {
        Self {
            threshold,
            fixed: threshold.is_some(),
            labels: None,
            probabilities: Vec::new(),
            unsafe_probabilities: Vec::new(),
            truths: Vec::new(),
            guesses: Vec::new(),
            fitted: Vec::new(),
        }
    }

    /// Takes one row's probabilities; gives whether the image is flagged.
    pub(super) fn add(&mut self, record: &Record, verdict: &Verdict) -> Result<bool, EvalError> {
        self.add_to(first_half(&record.image), record, verdict)
    }

    /// The same, and says whether it is one to fit on.
    pub(super) fn add_to(&mut self, fitted: bool, record: &Record, verdict: &Verdict) -> Result<bool, EvalError> {
        let bad_labels = |reason| EvalError::BadLabels { id: record.id, reason };
        let labels = match self.labels.take() {
            Some(labels) => labels,
            None => Labels::new(verdict).map_err(bad_labels)?,
        };
        let labels = self.labels.insert(labels);
        if !verdict.probabilities.keys().eq(labels.taxonomy.labels()) {
            let (found, before) = (verdict.probabilities.len(), labels.taxonomy.len());
            let reason = format!("are {found} others than the {before} of the rows before; score one model at a time");
            return Err(bad_labels(reason));
        }
        let threshold = *self.threshold.get_or_insert(verdict.threshold);
        if !self.fixed && threshold != verdict.threshold {
            return Err(EvalError::MixedThresholds { id: record.id, threshold: verdict.threshold, before: threshold });
        }
        let row: Vec<f32> = verdict.probabilities.values().copied().collect();
        let checked = Verdict::from_probabilities(&row, &labels.taxonomy, threshold)
            .map_err(|source| EvalError::BadVerdict { id: record.id, source })?;
        let truth = labels.truth(record).map_err(bad_labels)?;
        self.probabilities.extend(checked.probabilities.values());
        self.unsafe_probabilities.push(checked.unsafe_probability);
        self.truths.push(truth as u8);
        self.guesses.push(checked.label_id as u8);
        self.fitted.push(fitted);
        Ok(checked.flagged)
    }

    /// None without rows.
    pub(super) fn finish(self) -> Option<GuardScore> {
        let taxonomy = &self.labels.as_ref()?.taxonomy;
        let mut confusion = Confusion::new(taxonomy.len());
        for (truth, guess) in self.truths.iter().zip(&self.guesses) {
            confusion.add(usize::from(*truth), usize::from(*guess));
        }
        let ranking = Ranking::new(self.unsafe_rows(taxonomy));
        let reliability = reliability(self.unsafe_rows(taxonomy));
        Some(GuardScore {
            rows: self.truths.len(),
            labels: taxonomy.labels().to_vec(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            confusion: confusion.into_counts(),
            auroc: ranking.auroc(),
            auprc: ranking.average_precision(),
            at_threshold: ranking.decision(self.threshold?),
            at_best_threshold: ranking.best(),
            category_thresholds: (self.categories(taxonomy))
                .map(|(name, belonging)| (name, Ranking::new(self.category_rows(&belonging)).best()))
                .collect(),
            curve: ranking.curve(),
            ece: expected_calibration_error(&reliability),
            reliability,
            temperature: self.temperature(taxonomy),
        })
    }

    fn rows(&self, width: usize) -> impl Iterator<Item = (&[f32], usize)> + Clone {
        self.probabilities.chunks_exact(width).zip(self.truths.iter().map(|truth| usize::from(*truth)))
    }

    /// Each row's probability of being unsafe, and whether it is.
    fn unsafe_rows(&self, taxonomy: &Taxonomy) -> impl Iterator<Item = (f32, bool)> {
        let safe = taxonomy.safe_id();
        self.unsafe_probabilities.iter().copied().zip(self.truths.iter().map(move |truth| usize::from(*truth) != safe))
    }

    /// The categories that occur: their names, and whether each label belongs to it.
    fn categories(&self, taxonomy: &Taxonomy) -> impl Iterator<Item = (String, Vec<bool>)> {
        let belonging = |category: Category| {
            let belongs = |id: usize| taxonomy.class_of(id).is_some_and(|class| class.category == Some(category));
            (category.as_str().to_owned(), (0..taxonomy.len()).map(belongs).collect::<Vec<bool>>())
        };
        let occurs = |(_, belonging): &(String, Vec<bool>)| self.truths.iter().any(|t| belonging[usize::from(*t)]);
        Category::ALL.into_iter().map(belonging).filter(occurs)
    }

    /// Each row's probability of the labels that `belonging` names, and whether its own is one of them.
    fn category_rows(&self, belonging: &[bool]) -> impl Iterator<Item = (f32, bool)> {
        self.rows(belonging.len()).map(move |(row, truth)| {
            let sum = row.iter().zip(belonging).filter(|(_, belongs)| **belongs).map(|(p, _)| p).sum();
            (sum, belonging[truth])
        })
    }

    /// What is chosen on the rows to fit on, and what it does on the others; none without rows of both kinds.
    pub(super) fn calibration(self) -> Option<Calibration> {
        let taxonomy = &self.labels.as_ref()?.taxonomy;
        if self.fitted.iter().all(|fitted| *fitted) || !self.fitted.contains(&true) {
            return None;
        }
        let chosen = |rows: &mut dyn Iterator<Item = (f32, bool)>| {
            let (mut fitted, mut judged) = (Vec::new(), Vec::new());
            for (row, is_fitted) in rows.zip(&self.fitted) {
                if *is_fitted { fitted.push(row) } else { judged.push(row) }
            }
            let chosen = Ranking::new(fitted.into_iter()).best();
            let judged = Ranking::new(judged.into_iter()).decision(chosen.threshold as f32);
            Chosen { chosen, judged }
        };
        Some(Calibration {
            temperature: self.temperature(taxonomy),
            flagged: chosen(&mut self.unsafe_rows(taxonomy)),
            categories: (self.categories(taxonomy))
                .map(|(name, belonging)| (name, chosen(&mut self.category_rows(&belonging))))
                .collect(),
        })
    }

    fn temperature(&self, taxonomy: &Taxonomy) -> Option<Temperature> {
        let half = |wanted: bool| {
            let fitted = self.rows(taxonomy.len()).zip(&self.fitted);
            fitted.filter(move |(_, fitted)| **fitted == wanted).map(|(row, _)| row)
        };
        let fitted_rows = half(true).count();
        let judged_rows = half(false).count();
        if fitted_rows.min(judged_rows) < FEWEST_ROWS {
            return None;
        }
        let temperature = fit_temperature(half(true));
        let safe = taxonomy.safe_id();
        let judge = |temper: Temper| {
            let unsafe_ = half(false).map(|(row, truth)| ((1.0 - temper.probability(row, safe)) as f32, truth != safe));
            let nll: f64 = half(false).map(|(row, truth)| temper.negative_log_likelihood(row, truth)).sum();
            (expected_calibration_error(&reliability(unsafe_)), nll / judged_rows as f64)
        };
        let (ece_before, nll_before) = judge(Temper::new(1.0));
        let (ece_after, nll_after) = judge(Temper::new(temperature));
        Some(Temperature { temperature, fitted_rows, judged_rows, ece_before, ece_after, nll_before, nll_after })
    }
}

/// Which half an image is in, by a hash of its name, so that all questions about it are in the same.
fn first_half(image: &str) -> bool {
    Sha256::digest(image)[0] & 1 == 0
}
