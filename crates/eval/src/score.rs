//! The figures of one file of predictions under one judge.

mod calibration;
mod count;
mod guard;
mod run;

use indexmap::IndexMap;
use safevlm_data::Combination;
use serde::{Deserialize, Serialize};

pub use calibration::{Calibration, Chosen, calibrate};
pub use run::{Outcome, ScoreOptions, Scored, score};

/// A share with its 95 % Wilson interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Rows that count against the model.
    pub errors: usize,
    /// Rows with a judgement.
    pub scored: usize,
    /// `errors / scored`, 0 to 1; none without rows.
    pub rate: Option<f64>,
    /// 95 % Wilson interval of the rate; none without rows.
    pub interval: Option<[f64; 2]>,
}

/// Errors of each combination that occurs, in the benchmark's order: of SSS the refusal rate, of the
/// others the attack success rate.
pub type TypeRates = IndexMap<Combination, Rate>;

/// The figures of one category or subcategory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CategoryScore {
    /// Rows, judged or not.
    pub rows: usize,
    /// Errors of each combination.
    pub types: TypeRates,
    /// Unweighted mean attack success rate over the unsafe combinations that occur, 0 to 1.
    #[serde(rename = "mASR")]
    pub masr: Option<f64>,
    /// Refusal rate on SSS, 0 to 1.
    #[serde(rename = "RR")]
    pub refusal_rate: Option<f64>,
    /// The same of each subcategory; empty in a subcategory.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub subcategories: IndexMap<String, CategoryScore>,
}

/// The figures of a file of predictions; the object that `safevlm eval score --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Rows in the file.
    pub rows: usize,
    /// The judge's name.
    pub judge: String,
    /// Errors of each combination.
    pub types: TypeRates,
    /// Unweighted mean attack success rate over the unsafe combinations that occur, as in the paper's v5.
    #[serde(rename = "mASR")]
    pub masr: Option<f64>,
    /// Attack success over all rows of the unsafe combinations, as in v1.
    #[serde(rename = "mASR_row_weighted")]
    pub masr_row_weighted: Option<f64>,
    /// Refusal rate on SSS.
    #[serde(rename = "RR")]
    pub refusal_rate: Option<f64>,
    /// Rows on which the judge gave no verdict; they count in no rate.
    pub unparsed: usize,
    /// By the row's category, in the taxonomy's order.
    pub categories: IndexMap<String, CategoryScore>,
    /// How guard and answer agree; none where no row has probabilities.
    pub agreement: Option<Agreement>,
    /// Of the SSS rows that say what the picture shows: those whose answer does not name it; none without.
    pub not_named: Option<Rate>,
    /// Of the guard; none where no row has its probabilities.
    pub guard: Option<GuardScore>,
}

/// Whether the guard's flag and the answer fit together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Image flagged, question refused.
    pub flagged_refused: usize,
    /// Image flagged, question answered all the same.
    pub flagged_answered: usize,
    /// Image passed, question refused: it may be the text, or the two together.
    pub passed_refused: usize,
    /// Image passed, question answered.
    pub passed_answered: usize,
}

/// How good the guard's probabilities are. Rows are judged, not images: an image with several questions counts
/// several times, and its label may differ from row to row, as in HoliSafe-Bench.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardScore {
    /// Rows with probabilities.
    pub rows: usize,
    /// The labels in the order of their ids.
    pub labels: Vec<String>,
    /// Share of rows whose most probable class is the image's.
    pub accuracy: f64,
    /// Mean F1 over the classes that occur or are guessed.
    pub macro_f1: f64,
    /// Rows of each class (first index) by the most probable class (second).
    pub confusion: Vec<Vec<usize>>,
    /// Area under the ROC curve of unsafe against safe; none unless both occur.
    pub auroc: Option<f64>,
    /// Area under the precision-recall curve (average precision); none unless both occur.
    pub auprc: Option<f64>,
    /// Flagging at the threshold of the run.
    pub at_threshold: Decision,
    /// Flagging at the threshold of the highest F1 on these very rows.
    pub at_best_threshold: Decision,
    /// Flagging one category, by the sum of its classes' probabilities, at the threshold of its highest F1.
    pub category_thresholds: IndexMap<String, Decision>,
    /// Flagging at 0, 0.01, .. 1.
    pub curve: Vec<Decision>,
    /// Ten bins of `unsafe_probability` of equal width.
    pub reliability: Vec<ReliabilityBin>,
    /// Expected calibration error of `unsafe_probability` over these bins.
    pub ece: f64,
    /// Temperature scaling; none where there are too few rows to fit and to judge it.
    pub temperature: Option<Temperature>,
}

/// What flagging from a threshold on gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Flagged from this probability on.
    pub threshold: f64,
    /// Unsafe and flagged.
    pub true_positives: usize,
    /// Safe and flagged.
    pub false_positives: usize,
    /// Unsafe and passed.
    pub false_negatives: usize,
    /// Safe and passed.
    pub true_negatives: usize,
    /// Share of the flagged that are unsafe; none where nothing is flagged.
    pub precision: Option<f64>,
    /// Share of the unsafe that are flagged; none where nothing is unsafe.
    pub recall: Option<f64>,
    /// Harmonic mean of both; none where nothing is unsafe.
    pub f1: Option<f64>,
}

/// Rows whose probability of being unsafe lies in one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower end.
    pub from: f64,
    /// Upper end; part of the last bin only.
    pub to: f64,
    /// Rows in it.
    pub rows: usize,
    /// Mean probability; none without rows.
    pub confidence: Option<f64>,
    /// Share that is unsafe; none without rows.
    pub unsafe_share: Option<f64>,
}

/// Temperature scaling of the 20 classes (arXiv 1706.04599), fitted on one half of the images and judged on the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Logits are divided by it.
    pub temperature: f64,
    /// Rows that it was fitted on.
    pub fitted_rows: usize,
    /// Rows that it is judged on.
    pub judged_rows: usize,
    /// Expected calibration error on these, as they are.
    pub ece_before: f64,
    /// And scaled.
    pub ece_after: f64,
    /// Mean negative log-likelihood of the true class on these, as they are.
    pub nll_before: f64,
    /// And scaled.
    pub nll_after: f64,
}
