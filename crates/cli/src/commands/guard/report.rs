//! How `safevlm guard` prints its verdicts.

use std::io::{self, Write};
use std::path::Path;

use safevlm::{Peak, Verdict};
use serde::Serialize;

use super::walk::{Found, Sink};
use super::{Heat, Judged};
use crate::error::CliError;
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

/// The JSON form of one file's row.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) path: &'a str,
    pub(crate) safety: Option<&'a Verdict>,
    /// Why there is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heatmap: Option<HeatLine<'a>>,
}

/// The JSON form of a heat map.
#[derive(Serialize)]
pub(crate) struct HeatLine<'a> {
    /// The picture that was drawn.
    picture: &'a Path,
    /// Visual tokens from left to right and from top to bottom.
    grid: [usize; 2],
    /// Left, top, width and height of what the grid covers, in the image's pixels.
    view: [f64; 4],
    /// The probability of being unsafe of each token, row by row.
    #[serde(rename = "unsafe")]
    unsafe_probabilities: &'a [f32],
    mean_of_token_logits: &'a Verdict,
    peak: &'a Peak,
}

impl<'a> From<&'a Heat> for HeatLine<'a> {
    fn from(Heat { picture, map }: &'a Heat) -> Self {
        let view = &map.grid.view;
        Self {
            picture,
            grid: [map.grid.columns, map.grid.rows],
            view: [view.left, view.top, view.width, view.height],
            unsafe_probabilities: &map.unsafe_probabilities,
            mean_of_token_logits: &map.mean_of_token_logits,
            peak: &map.peak,
        }
    }
}

impl<W: Write> Sink for Report<W> {
    fn write(&mut self, found: &[Found<'_>]) -> Result<(), CliError> {
        let judged = found.iter().filter_map(|(path, found)| Some((path, found.as_ref().ok()?)));
        for (path, judged) in judged {
            self.one(&path.to_string_lossy(), judged).map_err(CliError::Output)?;
        }
        Ok(())
    }
}

impl<W: Write> Report<W> {
    fn one(&mut self, path: &str, Judged { verdict, heat }: &Judged) -> io::Result<()> {
        let out = &mut self.out;
        match &mut self.style {
            Style::Json => {
                let heatmap = heat.as_ref().map(HeatLine::from);
                let line = Line { path, safety: Some(verdict), error: None, heatmap };
                writeln!(out, "{}", serde_json::to_string(&line)?)
            }
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
                    harmless(path),
                )?;
                verdicts::write_chart(out, verdict, *chart)?;
                heat.as_ref().map_or(Ok(()), |heat| write_heat(out, heat))
            }
        }
    }
}

/// What the tokens say, below the line of the whole image.
fn write_heat(out: &mut dyn Write, Heat { picture, map }: &Heat) -> io::Result<()> {
    let (mean, peak, grid) = (&map.mean_of_token_logits, &map.peak, &map.grid);
    let tokens = format!("{} x {} tokens", grid.columns, grid.rows);
    let label = harmless(&mean.label);
    writeln!(out, "  {tokens}, mean of their logits: unsafe {:.3}, {label}", mean.unsafe_probability)?;
    let label = harmless(&peak.label);
    writeln!(
        out,
        "  peak at {}, {}: unsafe {:.3}, {label} {:.3}",
        peak.x, peak.y, peak.unsafe_probability, peak.probability
    )?;
    writeln!(out, "  drawn: {}", harmless(&picture.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdicts::tests::weapon;

    fn print(style: Style, verdicts: &[(&str, Verdict)]) -> String {
        let mut report = Report { out: anstream::StripStream::new(Vec::new()), style };
        for (path, verdict) in verdicts {
            let judged = Judged { verdict: verdict.clone(), heat: None };
            report.write(&[(Path::new(path), Ok(judged))]).unwrap();
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
