//! Verdicts for people: a line, and a small chart of the most probable classes.

use std::io::{self, Write};

use safevlm::Verdict;

use crate::terminal::{ALARM, CALM, DIM, harmless};

/// The chart's width at probability 1, in characters.
const CHART: usize = 24;
/// The longest built-in label, so that columns stay put while verdicts come one by one.
pub(crate) const LABEL: usize = 25;

/// The decision in one word.
pub(crate) fn decision(verdict: &Verdict) -> &'static str {
    if verdict.flagged { "flagged" } else { "passed" }
}

/// One line: `verdict: flagged, unsafe 0.998, weapon_related_violence (violence)`.
pub(crate) fn write_line(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    let style = if verdict.flagged { ALARM } else { CALM };
    let category = verdict.category.as_ref().map(|category| format!(" ({})", harmless(category)));
    writeln!(
        out,
        "verdict: {style}{}{style:#}, unsafe {:.3}, {}{}",
        decision(verdict),
        verdict.unsafe_probability,
        harmless(&verdict.label),
        category.unwrap_or_default(),
    )
}

/// One line for each of the `count` most probable classes: name, bar, probability.
pub(crate) fn write_chart(out: &mut dyn Write, verdict: &Verdict, count: usize) -> io::Result<()> {
    for (label, probability) in verdict.top(count) {
        let style = match (label == "safe", verdict.flagged) {
            (true, _) => CALM,
            (false, true) => ALARM,
            (false, false) => DIM,
        };
        let label = harmless(label);
        writeln!(out, "  {label:LABEL$}  {style}{:CHART$}{style:#} {probability:.3}", bar(probability, CHART))?;
    }
    Ok(())
}

/// A horizontal bar of `fraction` of `width` characters, exact to an eighth of one.
fn bar(fraction: f32, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (fraction.clamp(0.0, 1.0) * (width * 8) as f32).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
pub(crate) mod tests {
    use safevlm::Taxonomy;

    use super::*;

    /// A verdict with probability `p` of class 16, the rest of it safe.
    pub(crate) fn weapon(p: f32) -> Verdict {
        let mut probabilities = [0.0; 20];
        probabilities[0] = 1.0 - p;
        probabilities[16] = p;
        Verdict::from_probabilities(&probabilities, &Taxonomy::default(), 0.5).unwrap()
    }

    fn plain(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        write(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn bars_are_exact_to_an_eighth() {
        assert_eq!(bar(0.0, 4), "");
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(0.28, 4), "█▏");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(7.0, 4), "████");
        assert_eq!(bar(f32::NAN, 4), "");
    }

    #[test]
    fn the_line_names_decision_class_and_category() {
        let line = plain(|out| write_line(out, &weapon(0.75)));
        assert_eq!(line, "verdict: flagged, unsafe 0.750, weapon_related_violence (violence)\n");
        let line = plain(|out| write_line(out, &weapon(0.25)));
        assert_eq!(line, "verdict: passed, unsafe 0.250, safe\n");
    }

    #[test]
    fn the_chart_is_aligned() {
        let chart = plain(|out| write_chart(out, &weapon(0.75), 2));
        let wanted = "  weapon_related_violence    ██████████████████       0.750\n  \
                      safe                       ██████                   0.250\n";
        assert_eq!(chart, wanted);
    }
}
