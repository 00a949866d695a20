//! How `safevlm eval score` prints the guard's figures.

use std::io::{self, Write};

use safevlm_eval::{Decision, Score};

use super::score_table::percent;
use crate::terminal::TITLE;

/// Nothing where no row has probabilities.
pub(super) fn write_guard(out: &mut dyn Write, score: &Score) -> io::Result<()> {
    let Some(guard) = &score.guard else {
        return Ok(());
    };
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    writeln!(out, "{TITLE}GUARD{TITLE:#}, {} rows with probabilities (an image counts once a question)", guard.rows)?;
    let classes = guard.labels.len();
    writeln!(out, "  {classes} classes: accuracy {}, macro F1 {:.3}", percent(Some(guard.accuracy)), guard.macro_f1)?;
    writeln!(out, "  safe or not: AUROC {}, AUPRC {}", number(guard.auroc), number(guard.auprc))?;
    write!(out, "  calibration: ECE {:.3}", guard.ece)?;
    if let Some(scaled) = &guard.temperature {
        write!(
            out,
            "; temperature {:.2} fitted on half of the images takes the other half's from {:.3} to {:.3}",
            scaled.temperature, scaled.ece_before, scaled.ece_after
        )?;
    }
    writeln!(out, "\n")?;
    writeln!(
        out,
        "  {TITLE}{:26}  {:>9}  {:>9}  {:>7}  {:>5}{TITLE:#}",
        "FLAGGING", "THRESHOLD", "PRECISION", "RECALL", "F1"
    )?;
    let mut line = |name: &str, at: &Decision| {
        writeln!(
            out,
            "  {name:26}  {:>9.3}  {:>9}  {:>7}  {:>5}",
            at.threshold,
            percent(at.precision),
            percent(at.recall),
            number(at.f1)
        )
    };
    line("unsafe", &guard.at_threshold)?;
    line("unsafe, at the highest F1", &guard.at_best_threshold)?;
    for (category, decision) in &guard.category_thresholds {
        line(&format!("  {category}"), decision)?;
    }
    if let Some(agreement) = &score.agreement {
        writeln!(out, "\n  {TITLE}{:14}  {:>8}  {:>8}{TITLE:#}", "GUARD, ANSWER", "REFUSED", "ANSWERED")?;
        let (refused, answered) = (agreement.flagged_refused, agreement.flagged_answered);
        writeln!(out, "  {:14}  {refused:>8}  {answered:>8}", "flagged")?;
        let (refused, answered) = (agreement.passed_refused, agreement.passed_answered);
        writeln!(out, "  {:14}  {refused:>8}  {answered:>8}", "passed")?;
    }
    writeln!(out)
}
