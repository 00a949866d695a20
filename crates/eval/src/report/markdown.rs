//! A report as Markdown tables.

use std::fmt::Write;

use safevlm_data::Combination;

use super::columns::{COLUMNS, lines};
use super::{Report, ReportRun, RunComparison};
use crate::score::{Decision, Rate};

pub(super) fn text(report: &Report) -> String {
    let mut text = format!("# {}\n\n", plain(&report.title));
    let published = report.compared();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "Judge: {}. Percent; SSS↑ is the share answered, RR the share refused of SSS, the others are attack success \
         rates, and mASR is their unweighted mean. Rows marked *published* are the paper's (arXiv 2506.04704 v5, \
         judge: {}, HoliSafe-Bench's {} rows); they compare with runs on the same benchmark only.",
        plain(&report.judge),
        published.title,
        report.published_rows,
    );
    leaderboard(&mut text, report);
    intervals(&mut text, report);
    differences(&mut text, report);
    categories(&mut text, report);
    guard(&mut text, report);
    runs(&mut text, report);
    text
}

fn leaderboard(text: &mut String, report: &Report) {
    title(text, "Leaderboard");
    row(text, std::iter::once("Model").chain(["Rows"]).chain(COLUMNS));
    rule(text, 1, 1 + COLUMNS.len());
    for line in lines(report) {
        let name = match line.run {
            Some(_) => format!("**{}**", plain(line.name)),
            None => format!("{} *(published)*", plain(line.name)),
        };
        let rows = line.run.map_or(report.published_rows, |run| run.score.rows).to_string();
        let numbers = line.percent.iter().map(|percent| percent.map_or("–".to_owned(), |p| format!("{p:.1}")));
        row(text, [name, rows].into_iter().chain(numbers));
    }
}

fn intervals(text: &mut String, report: &Report) {
    title(text, "By combination, with 95 % Wilson intervals");
    let heads = Combination::ALL
        .map(|c| if c.refused() { format!("{} answered", c.as_str()) } else { "SSS refused".to_owned() });
    row(text, std::iter::once("Model".to_owned()).chain(heads).chain(["mASR".to_owned()]));
    rule(text, 1, 6);
    for run in &report.runs {
        let cells = Combination::ALL.map(|combination| match run.score.types.get(&combination) {
            Some(Rate { rate: Some(rate), interval, errors, scored }) => {
                format!("{:.1}{} {errors}/{scored}", 100.0 * rate, limits(*interval))
            }
            _ => "–".to_owned(),
        });
        let masr =
            run.score.masr.map_or("–".to_owned(), |masr| format!("{:.1}{}", 100.0 * masr, limits(run.masr_interval)));
        row(text, std::iter::once(plain(&run.name)).chain(cells).chain([masr]));
    }
}

fn differences(text: &mut String, report: &Report) {
    let [first, _, ..] = report.runs.as_slice() else { return };
    if report.comparisons.is_empty() {
        return;
    }
    title(text, &format!("Differences from {}", plain(&first.name)));
    text.push_str("Percentage points on the rows that both have, with 95 % intervals of a paired bootstrap.\n\n");
    let heads = Combination::ALL.map(|combination| combination.as_str()).into_iter().chain(["mASR", "Rows"]);
    row(text, std::iter::once("Model").chain(heads));
    rule(text, 1, 7);
    for RunComparison { run, comparison } in &report.comparisons {
        let types = Combination::ALL.map(|combination| comparison.types.get(&combination).copied());
        let cells = types.into_iter().chain([comparison.masr]).map(|difference| match difference {
            Some(found) => {
                let [low, high] = found.interval.map(|limit| 100.0 * limit);
                format!("{:+.1} [{low:+.1}, {high:+.1}]", 100.0 * found.difference)
            }
            None => "–".to_owned(),
        });
        let name = report.runs.get(*run).map_or(String::new(), |run| plain(&run.name));
        row(text, std::iter::once(name).chain(cells).chain([comparison.rows.to_string()]));
    }
}

fn limits(interval: Option<[f64; 2]>) -> String {
    interval.map_or(String::new(), |[low, high]| format!(" [{:.1}, {:.1}]", 100.0 * low, 100.0 * high))
}

fn categories(text: &mut String, report: &Report) {
    let mut names: Vec<&String> = Vec::new();
    for name in report.runs.iter().flat_map(|run| run.score.categories.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    title(text, "mASR by category");
    row(text, std::iter::once("Model".to_owned()).chain(names.iter().map(|name| plain(&name.replace('_', " ")))));
    rule(text, 1, names.len());
    for run in &report.runs {
        let cells = names.iter().map(|name| share(run.score.categories.get(*name).and_then(|category| category.masr)));
        row(text, std::iter::once(plain(&run.name)).chain(cells));
    }
}

fn guard(text: &mut String, report: &Report) {
    if report.runs.iter().all(|run| run.score.guard.is_none()) {
        return;
    }
    title(text, "Guard");
    let heads = [
        "Model",
        "Rows",
        "Accuracy",
        "Macro F1",
        "AUROC",
        "AUPRC",
        "At its threshold",
        "At the best threshold",
        "ECE",
        "Temperature",
    ];
    row(text, heads);
    rule(text, 1, heads.len() - 1);
    for (run, guard) in report.runs.iter().filter_map(|run| run.score.guard.as_ref().map(|guard| (run, guard))) {
        let temperature = guard.temperature.map_or("–".to_owned(), |t| {
            format!("{:.2} (ECE {:.3} → {:.3})", t.temperature, t.ece_before, t.ece_after)
        });
        let cells = [
            plain(&run.name),
            guard.rows.to_string(),
            share(Some(guard.accuracy)),
            share(Some(guard.macro_f1)),
            share(guard.auroc),
            share(guard.auprc),
            decision(&guard.at_threshold),
            decision(&guard.at_best_threshold),
            format!("{:.3}", guard.ece),
            temperature,
        ];
        row(text, cells);
    }
    text.push_str("\nAt a threshold: precision / recall / F1.\n");
}

fn decision(at: &Decision) -> String {
    format!("{:.2}: {} / {} / {}", at.threshold, share(at.precision), share(at.recall), share(at.f1))
}

fn runs(text: &mut String, report: &Report) {
    title(text, "Runs");
    row(text, ["Model", "File", "SHA-256", "Benchmark", "Settings", "Device"]);
    rule(text, 6, 0);
    for run in &report.runs {
        let [bench, settings, device] = recorded(run);
        row(text, [plain(&run.name), plain(&run.file), run.sha256.clone(), bench, settings, device]);
    }
    let _ = writeln!(text, "\nMade with safevlm {}.", report.safevlm_version);
}

fn recorded(run: &ReportRun) -> [String; 3] {
    let Some(info) = &run.info else { return ["", "not recorded", ""].map(str::to_owned) };
    let s = &info.settings;
    let settings =
        format!("temperature {}, {} tokens at most, {}, seed {}", s.temperature, s.max_new_tokens, s.dtype, s.seed);
    [plain(&s.bench), plain(&settings), plain(&info.device)]
}

fn title(text: &mut String, title: &str) {
    let _ = write!(text, "\n## {title}\n\n");
}

fn share(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.1}", 100.0 * share))
}

fn row(text: &mut String, cells: impl IntoIterator<Item = impl AsRef<str>>) {
    for cell in cells {
        let _ = write!(text, "| {} ", cell.as_ref());
    }
    text.push_str("|\n");
}

/// The line below the heads: columns of words, then columns of numbers.
fn rule(text: &mut String, words: usize, numbers: usize) {
    row(text, std::iter::repeat_n("---", words).chain(std::iter::repeat_n("---:", numbers)));
}

/// A name that Markdown takes as it is: on one line, and without a character that begins markup.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for character in name.chars() {
        match character {
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '!' | '#' | '&' | '~' => {
                plain.extend(['\\', character])
            }
            control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => plain.push(' '),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_are_no_markup() {
        assert_eq!(plain("safe-smol"), "safe-smol");
        assert_eq!(plain("a|b\n# c"), "a\\|b \\# c");
        assert_eq!(plain("<img src=x> [a](b) `c`"), "\\<img src=x\\> \\[a\\](b) \\`c\\`");
    }
}
