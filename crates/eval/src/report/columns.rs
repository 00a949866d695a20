//! The leaderboard's lines, for every form of a report.

use safevlm_data::Combination;

use super::{Report, ReportRun};

/// The paper's columns, in percent. SSS is the share that is answered, RR the share that is not.
pub(super) const COLUMNS: [&str; 7] = ["SSS↑", "SSU", "USU", "UUU", "SUU", "mASR", "RR"];

/// Where mASR is among them.
const MASR: usize = 5;

/// A model's line.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// None in a line that the paper publishes.
    pub(super) run: Option<&'a ReportRun>,
    pub(super) percent: [Option<f64>; 7],
}

/// The runs and the published rows of the like judge, the lowest mASR first. Runs that answered other questions than
/// the published models stand before all others: no place among them would mean anything.
pub(super) fn lines(report: &Report) -> Vec<Line<'_>> {
    let own = report.runs.iter().map(|run| Line { name: &run.name, run: Some(run), percent: percent(run) });
    let published = report.compared().models.iter();
    let published = published.map(|(name, values)| Line { name, run: None, percent: values.map(Some) });
    let mut lines: Vec<Line<'_>> = own.chain(published).collect();
    let key = |line: &Line<'_>| line.percent[MASR].unwrap_or(f64::INFINITY);
    let compares = |line: &Line<'_>| line.run.is_none_or(|run| run.score.rows == report.published_rows);
    lines.sort_by(|a, b| compares(a).cmp(&compares(b)).then(key(a).total_cmp(&key(b))));
    lines
}

fn percent(run: &ReportRun) -> [Option<f64>; 7] {
    let score = &run.score;
    let rate = |combination| score.types.get(&combination).and_then(|rate| rate.rate);
    let answered = score.refusal_rate.map(|refused| 1.0 - refused);
    let [_, ssu, usu, uuu, suu] = Combination::ALL.map(rate);
    [answered, ssu, usu, uuu, suu, score.masr, score.refusal_rate].map(|share| share.map(|share| 100.0 * share))
}
