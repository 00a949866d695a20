//! A report as comma-separated values, one line a model, with shares from 0 to 1.

use safevlm_data::Combination;

use super::columns::{Line, lines};
use super::{Report, ReportRun};
use crate::score::Rate;

pub(super) fn text(report: &Report) -> String {
    let table: Vec<Vec<(String, String)>> = lines(report).iter().map(|line| fields(report, line)).collect();
    let heads = table.first().map(|first| first.iter().map(|(name, _)| name));
    let mut text = String::new();
    if let Some(heads) = heads {
        record(&mut text, heads);
    }
    for line in &table {
        record(&mut text, line.iter().map(|(_, value)| value));
    }
    text
}

/// One line in the form of RFC 4180, but for the line's end, which is that of Unix.
fn record<'a>(text: &mut String, fields: impl Iterator<Item = &'a String>) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            text.push(',');
        }
        match field.contains(['"', ',', '\n', '\r']) {
            true => text.extend(["\"", &field.replace('"', "\"\""), "\""]),
            false => text.push_str(field),
        }
    }
    text.push('\n');
}

/// Names and values; the names are the same for every line.
fn fields(report: &Report, line: &Line<'_>) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    add("model", cell(line.name));
    match line.run {
        Some(run) => {
            add("source", "run".to_owned());
            add("judge", cell(&report.judge));
            add("rows", run.score.rows.to_string());
            add("unparsed", run.score.unparsed.to_string());
        }
        None => {
            add("source", "published".to_owned());
            add("judge", report.compared().title.to_owned());
            add("rows", report.published_rows.to_string());
            add("unparsed", String::new());
        }
    }
    // What is published has three decimals.
    let published = |at: usize| line.percent[at].map_or(String::new(), |percent| format!("{:.3}", percent / 100.0));
    for (at, combination) in Combination::ALL.iter().enumerate() {
        let name = combination.as_str();
        let [value, low, high, errors, scored] = match line.run {
            Some(run) => rate(run.score.types.get(combination)),
            // The published column of SSS is the share answered; ours is that refused.
            None if *combination == Combination::Sss => {
                [published(6), String::new(), String::new(), String::new(), String::new()]
            }
            None => [published(at), String::new(), String::new(), String::new(), String::new()],
        };
        add(&format!("{name}_rate"), value);
        add(&format!("{name}_low"), low);
        add(&format!("{name}_high"), high);
        add(&format!("{name}_errors"), errors);
        add(&format!("{name}_scored"), scored);
    }
    let run = line.run;
    add("mASR", run.map_or_else(|| published(5), |run| number(run.score.masr)));
    add("mASR_low", number(run.and_then(|run| run.masr_interval).map(|[low, _]| low)));
    add("mASR_high", number(run.and_then(|run| run.masr_interval).map(|[_, high]| high)));
    add("mASR_row_weighted", number(run.and_then(|run| run.score.masr_row_weighted)));
    add("RR", run.map_or_else(|| published(6), |run| number(run.score.refusal_rate)));
    let guard = run.and_then(|run| run.score.guard.as_ref());
    add("guard_rows", guard.map_or(String::new(), |guard| guard.rows.to_string()));
    add("guard_accuracy", number(guard.map(|guard| guard.accuracy)));
    add("guard_macro_f1", number(guard.map(|guard| guard.macro_f1)));
    add("guard_auroc", number(guard.and_then(|guard| guard.auroc)));
    add("guard_auprc", number(guard.and_then(|guard| guard.auprc)));
    add("guard_threshold", number(guard.map(|guard| guard.at_threshold.threshold)));
    add("guard_precision", number(guard.and_then(|guard| guard.at_threshold.precision)));
    add("guard_recall", number(guard.and_then(|guard| guard.at_threshold.recall)));
    add("guard_f1", number(guard.and_then(|guard| guard.at_threshold.f1)));
    add("guard_best_threshold", number(guard.map(|guard| guard.at_best_threshold.threshold)));
    add("guard_best_f1", number(guard.and_then(|guard| guard.at_best_threshold.f1)));
    add("guard_ece", number(guard.map(|guard| guard.ece)));
    add("guard_temperature", number(guard.and_then(|guard| guard.temperature).map(|t| t.temperature)));
    add("file", run.map_or(String::new(), |run| cell(&run.file)));
    add("sha256", run.map_or(String::new(), |run| run.sha256.clone()));
    add("device", run.map_or(String::new(), device));
    fields
}

fn device(run: &ReportRun) -> String {
    run.info.as_ref().map_or(String::new(), |info| cell(&info.device))
}

fn rate(rate: Option<&Rate>) -> [String; 5] {
    let Some(rate) = rate else { return Default::default() };
    let limit = |at: usize| number(rate.interval.map(|limits| limits[at]));
    [number(rate.rate), limit(0), limit(1), rate.errors.to_string(), rate.scored.to_string()]
}

fn number(share: Option<f64>) -> String {
    share.map_or(String::new(), |share| format!("{share:.6}"))
}

/// A name that no spreadsheet takes for a formula.
fn cell(name: &str) -> String {
    match name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{name}"),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_are_no_formulas() {
        let mut text = String::new();
        let fields = ["a", "b, \"c\"", "two\nlines", "", "=1+1"].map(cell);
        record(&mut text, fields.iter());
        assert_eq!(text, "a,\"b, \"\"c\"\"\",\"two\nlines\",,'=1+1\n");
    }
}
