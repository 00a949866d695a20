//! What a guard is set to on one set of rows, and what that does on another.

use std::fmt::Write as _;

use indexmap::IndexMap;
use safevlm_data::DataError;
use serde::Serialize;

use super::guard::GuardRows;
use super::{Decision, Temperature};
use crate::error::EvalError;
use crate::prediction::Prediction;

/// A guard's thresholds and temperature, chosen on a validation split and judged on rows that took no part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Temperature scaling; none where there are too few rows.
    pub temperature: Option<Temperature>,
    /// Flagging whatever is unsafe.
    pub flagged: Chosen,
    /// Flagging one category, by the sum of its classes' probabilities; of those that occur.
    pub categories: IndexMap<String, Chosen>,
}

/// A threshold with the highest F1 on the rows that it was chosen on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Chosen {
    /// On these rows.
    pub chosen: Decision,
    /// On the others.
    pub judged: Decision,
}

/// Chooses on the rows of `validation` and judges on those of `test`; rows without probabilities are passed over.
///
/// # Errors
/// When a row cannot be read, the guard's labels differ, or one of them has no row with probabilities.
pub fn calibrate(
    validation: impl Iterator<Item = Result<Prediction, DataError>>,
    test: impl Iterator<Item = Result<Prediction, DataError>>,
) -> Result<Calibration, EvalError> {
    // The rows' own threshold plays no part.
    let mut rows = GuardRows::new(Some(0.5));
    for (row, fitted) in validation.map(|row| (row, true)).chain(test.map(|row| (row, false))) {
        let row = row?;
        if let Some(verdict) = &row.safety {
            rows.add_to(fitted, &row.record, verdict)?;
        }
    }
    rows.calibration().ok_or(EvalError::NothingToCalibrate)
}

impl Calibration {
    /// A section of a model card.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| flagged | from probability | precision | recall | F1 | F1 where it was chosen |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        let share = |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let all = ("whatever is unsafe", &self.flagged);
        for (name, Chosen { chosen, judged }) in [all].into_iter().chain(self.categories.iter().map(|(n, c)| (&**n, c)))
        {
            let (precision, recall, f1) = (share(judged.precision), share(judged.recall), share(judged.f1));
            let there = share(chosen.f1);
            let _ = writeln!(text, "| {name} | {:.3} | {precision} | {recall} | {f1} | {there} |", chosen.threshold);
        }
        if let Some(Temperature { temperature, fitted_rows, judged_rows, ece_before, ece_after, .. }) = self.temperature
        {
            let _ = write!(
                text,
                "\nLogits divided by a temperature of {temperature:.2}, fitted on {fitted_rows} rows, change the calibration error \
                 on {judged_rows} others from {ece_before:.3} to {ece_after:.3}.\n"
            );
        }
        text
    }
}
