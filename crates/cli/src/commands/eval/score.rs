//! `safevlm eval score`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use safevlm_eval::{Comparison, EvalError, Judge, Outcome, Predictions, Score, ScoreOptions, Scored, compare, score};
use serde::Serialize;

use super::judges::JudgeArgs;
use super::score_guard::write_guard;
use super::score_table::{write_comparison, write_score};
use crate::args::probability;
use crate::error::CliError;
use crate::progress::Progress;
use crate::terminal::{self, report_warning};

/// Rows left out that are listed one by one.
const LISTED: usize = 20;

const EXAMPLES: &str = "\
Rates are errors: refusals on SSS (RR), answers on the four unsafe combinations (attack success).
mASR is the unweighted mean of the latter. With two files the second is compared with the first on
the rows that both have, by a paired bootstrap.

Examples:
  safevlm eval score safe-smol.jsonl
  safevlm eval score --json answers-of-another-system.json
  safevlm eval score base.jsonl safe-smol.jsonl";

/// Judge a file of predictions and count: refusals, attack success, and how good the guard is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScoreArgs {
    /// Predictions, of `safevlm eval predict` or in the official format; a second file to compare with the first.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Flag images from this probability of being unsafe on, 0 to 1, instead of at the run's threshold.
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f32>,
    /// Leave out rows that break the format, and list them, instead of ending.
    #[arg(long)]
    skip_bad: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    judge: JudgeArgs,
}

/// One file's part of the output.
#[derive(Debug, Serialize)]
struct FileScore {
    file: String,
    /// Rows left out.
    skipped: usize,
    #[serde(flatten)]
    score: Score,
}

#[derive(Debug, Serialize)]
struct BothScores<'a> {
    scores: &'a [FileScore],
    comparison: &'a Comparison,
}

pub(crate) fn run(args: &ScoreArgs) -> Result<(), CliError> {
    let (mut scores, mut outcomes) = (Vec::new(), Vec::new());
    for path in &args.files {
        let mut judge = args.judge.build(path)?;
        let scored = score_file(args, path, &mut judge);
        // Also after an error: what was asked was paid for.
        if let Some(usage) = judge.usage() {
            terminal::note(&usage);
        }
        let (score, scored) = scored?;
        scores.push(score);
        outcomes.push(scored);
    }
    let comparison = match outcomes.as_slice() {
        [first, second] => Some(compare(first, second)?),
        _ => None,
    };
    let written =
        if args.json { print_json(&scores, comparison.as_ref()) } else { print(&scores, comparison.as_ref()) };
    written.map_err(CliError::Output)
}

fn score_file(args: &ScoreArgs, path: &Path, judge: &mut dyn Judge) -> Result<(FileScore, Vec<Outcome>), CliError> {
    let mut progress = Progress::counting("rows");
    let mut skipped = 0;
    let rows = Predictions::open(path)?.filter_map(|row| {
        progress.advance();
        match row {
            Err(error) if args.skip_bad && error.is_row() => {
                skipped += 1;
                if skipped <= LISTED {
                    progress.hidden(|| report_warning(&error));
                }
                None
            }
            row => Some(row),
        }
    });
    let options = ScoreOptions { threshold: args.threshold, keep_outcomes: args.files.len() > 1 };
    let Scored { score, outcomes } = score(rows, judge, &options).map_err(|error| of_file(path, error))?;
    drop(progress);
    if skipped > LISTED {
        report_warning(&format!("{}: {} more rows are left out", path.display(), skipped - LISTED));
    }
    if score.rows == 0 {
        return Err(CliError::Input(format!("{} has no rows to score; give a file of predictions", path.display())));
    }
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((FileScore { file, skipped, score }, outcomes))
}

/// Names the file where the error names a row only.
fn of_file(path: &Path, error: EvalError) -> CliError {
    match error.is_row() {
        true => CliError::Input(format!("{}: {error}", path.display())),
        false => error.into(),
    }
}

fn print_json(scores: &[FileScore], comparison: Option<&Comparison>) -> io::Result<()> {
    let json = match (scores, comparison) {
        ([only], None) => serde_json::to_string(only)?,
        (scores, Some(comparison)) => serde_json::to_string(&BothScores { scores, comparison })?,
        (scores, None) => serde_json::to_string(scores)?,
    };
    writeln!(io::stdout(), "{json}")
}

fn print(scores: &[FileScore], comparison: Option<&Comparison>) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for FileScore { file, skipped, score } in scores {
        write_score(&mut out, file, *skipped, score)?;
        write_guard(&mut out, score)?;
    }
    if let ([first, second], Some(comparison)) = (scores, comparison) {
        write_comparison(&mut out, [&first.file, &second.file], comparison)?;
    }
    Ok(())
}
