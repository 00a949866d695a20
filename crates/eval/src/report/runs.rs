//! One file of predictions, measured.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use super::examples::{Chooser, Example};
use super::interval::mean_interval;
use crate::error::EvalError;
use crate::hash::hash_path;
use crate::judge::{Judge, Judgement};
use crate::prediction::{Prediction, Predictions};
use crate::run::{RunInfo, run_info_path};
use crate::score::{Outcome, Score, ScoreOptions, Scored, score};

/// A run with its figures.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReportRun {
    /// The model's name, or that of the file.
    pub name: String,
    /// The file's name.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its figures.
    pub score: Score,
    /// 95 % interval of its mASR.
    pub masr_interval: Option<[f64; 2]>,
    /// How it was made; none where that was not recorded.
    pub info: Option<RunInfo>,
}

impl ReportRun {
    /// A run of these figures.
    pub fn new(name: &str, file: &str, score: Score, info: Option<RunInfo>) -> Self {
        let unsafe_ = score.types.iter().filter(|(combination, _)| combination.refused()).map(|(_, rate)| *rate);
        let masr_interval = mean_interval(&unsafe_.collect::<Vec<_>>());
        Self { name: name.to_owned(), file: file.to_owned(), sha256: String::new(), score, masr_interval, info }
    }
}

/// The official files are called MODEL_holisafe_bench.json.
const OFFICIAL_ENDING: &str = "_holisafe_bench";

/// Scores a file, and chooses up to `limit` examples. `on_rows` hears how many rows were judged.
pub(super) fn measure(
    path: &Path,
    judge: &mut dyn Judge,
    threshold: Option<f32>,
    limit: usize,
    on_rows: &mut dyn FnMut(usize),
) -> Result<(ReportRun, Vec<Outcome>, Vec<Example>), EvalError> {
    let mut watched = Watched { judge, chooser: Chooser::new(limit, threshold), on_rows };
    let options = ScoreOptions { threshold, keep_outcomes: true };
    let Scored { score, outcomes } =
        score(Predictions::open(path)?, &mut watched, &options).map_err(|error| in_file(path, error))?;
    if score.rows == 0 {
        return Err(EvalError::NoRows { path: path.to_path_buf() });
    }
    let examples = watched.chooser.choose();
    let info = RunInfo::read(&run_info_path(path))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match &info {
        Some(info) if !info.settings.model.is_empty() => info.settings.model.clone(),
        _ => stem.strip_suffix(OFFICIAL_ENDING).unwrap_or(&stem).to_owned(),
    };
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut run = ReportRun::new(&name, &file, score, info);
    run.sha256 = hash_path(path)?;
    Ok((run, outcomes, examples))
}

/// Names the file where the error names a row only.
fn in_file(path: &Path, error: EvalError) -> EvalError {
    match error.is_row() {
        true => EvalError::InFile { path: path.to_path_buf(), source: Box::new(error) },
        false => error,
    }
}

/// Lets a chooser see the rows that a judge gets, and others how many they were.
struct Watched<'a> {
    judge: &'a mut dyn Judge,
    chooser: Chooser,
    on_rows: &'a mut dyn FnMut(usize),
}

impl Judge for Watched<'_> {
    fn name(&self) -> &str {
        self.judge.name()
    }

    fn label(&self) -> String {
        self.judge.label()
    }

    fn batch(&self) -> usize {
        self.judge.batch()
    }

    fn judge(&mut self, rows: &[Prediction]) -> Result<Vec<Judgement>, EvalError> {
        let judgements = self.judge.judge(rows)?;
        for (row, judgement) in rows.iter().zip(&judgements) {
            self.chooser.offer(row, *judgement);
        }
        (self.on_rows)(rows.len());
        Ok(judgements)
    }
}

/// Gives runs of one name different ones: with the file, and where that is the same too, with a number.
pub(super) fn tell_apart(runs: &mut [ReportRun]) {
    let given: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    let mut taken = HashSet::new();
    for run in runs {
        let alone = given.iter().filter(|name| **name == run.name).count() == 1;
        let base = if alone { run.name.clone() } else { format!("{} ({})", run.name, run.file) };
        run.name = base.clone();
        let mut number = 1;
        while !taken.insert(run.name.clone()) {
            number += 1;
            run.name = format!("{base} #{number}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_different() {
        let run = |name: &str, file: &str| ReportRun::new(name, file, Score::default(), None);
        let mut runs = [run("a", "1.json"), run("a", "2.json"), run("b", "1.json"), run("a", "2.json")];
        tell_apart(&mut runs);
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["a (1.json)", "a (2.json)", "b", "a (2.json) #2"]);
    }
}
