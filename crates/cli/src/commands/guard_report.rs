//! How `safevlm guard` prints its verdicts.

use std::io::{self, Write};
use std::path::Path;

use safevlm::Verdict;
use serde::Serialize;

use crate::commands::guard::Sink;
use crate::terminal::{ALARM, CALM, TITLE, harmless, stdout_is_terminal};
use crate::verdicts::{self, LABEL};

/// A table for people, or JSON lines for programs.
pub(crate) struct Report<W> {
    out: W,
    style: Style,
}

enum Style {
    Json,
    /// With the number of classes in the chart below each line; the title is still to be written.
    Table {
        chart: usize,
        begun: bool,
    },
}

impl Report<Box<dyn Write>> {
    /// To standard output; charts only on a terminal.
    pub(crate) fn new(json: bool, top: usize) -> Self {
        if json {
            return Self { out: Box::new(io::stdout()), style: Style::Json };
        }
        let chart = if stdout_is_terminal() { top } else { 0 };
        Self { out: Box::new(anstream::stdout()), style: Style::Table { chart, begun: false } }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    safety: &'a Verdict,
}

impl<W: Write> Sink for Report<W> {
    fn write(&mut self, path: &Path, verdict: &Verdict) -> io::Result<()> {
        let path = path.to_string_lossy();
        let out = &mut self.out;
        match &mut self.style {
            Style::Json => writeln!(out, "{}", serde_json::to_string(&Line { path: &path, safety: verdict })?),
            Style::Table { chart, begun } => {
                if !*begun {
                    writeln!(out, "{TITLE}{:7}  {:>6}  {:LABEL$}  IMAGE{TITLE:#}", "VERDICT", "UNSAFE", "CLASS")?;
                    *begun = true;
                }
                let style = if verdict.flagged { ALARM } else { CALM };
                writeln!(
                    out,
                    "{style}{:7}{style:#}  {:>6.3}  {:LABEL$}  {}",
                    verdicts::decision(verdict),
                    verdict.unsafe_probability,
                    harmless(&verdict.label),
                    harmless(&path),
                )?;
                verdicts::write_chart(out, verdict, *chart)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdicts::tests::weapon;

    fn print(style: Style, verdicts: &[(&str, Verdict)]) -> String {
        let mut report = Report { out: anstream::StripStream::new(Vec::new()), style };
        for (path, verdict) in verdicts {
            report.write(Path::new(path), verdict).unwrap();
        }
        String::from_utf8(report.out.into_inner()).unwrap()
    }

    #[test]
    fn the_table_is_aligned_and_has_one_title() {
        let text =
            print(Style::Table { chart: 0, begun: false }, &[("a.png", weapon(0.9)), ("b\x1b.png", weapon(0.1))]);
        let wanted = "VERDICT  UNSAFE  CLASS                      IMAGE\n\
                      flagged   0.900  weapon_related_violence    a.png\n\
                      passed    0.100  safe                       b\u{FFFD}.png\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_chart_follows_its_line() {
        let text = print(Style::Table { chart: 2, begun: true }, &[("a.png", weapon(0.9))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("  weapon_related_violence    ████"));
    }

    #[test]
    fn json_lines_have_path_and_safety_only() {
        let text = print(Style::Json, &[("a b.png", weapon(0.9)), ("c.png", weapon(0.1))]);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["path", "safety"]);
        assert_eq!(lines[0]["path"], "a b.png");
        assert_eq!(lines[0]["safety"]["label_id"], 16);
        assert_eq!(lines[1]["safety"]["flagged"], false);
    }
}
