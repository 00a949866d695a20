//! `safevlm eval report`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use safevlm_eval::{Report, ReportFormat, ReportOptions};

use super::judges::JudgeArgs;
use crate::args::probability;
use crate::error::CliError;
use crate::progress::Progress;
use crate::terminal;

const EXAMPLES: &str = "\
The page is one file that needs no network. It shows the paper's published rows beside the runs, and some rows with
their pictures, which are looked for in the folder `images` beside the benchmark or the predictions.

Examples:
  safevlm eval report safe-smol.jsonl --out report.html
  safevlm eval report safe-smol.jsonl safe-smol-base.jsonl --out report.html --out report.md --out report.csv
  safevlm eval report gpt-4o_holisafe_bench.json --images images.tar --examples 500 --out report.html";

/// Show the figures of one or several runs as a page, as Markdown or as CSV.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReportArgs {
    /// Predictions, as `safevlm eval predict` or another system in the official format wrote them.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The file to write; .html, .md or .csv says what. May be given several times.
    #[arg(long, required = true, value_name = "FILE")]
    out: Vec<PathBuf>,
    /// Flag images from this probability of being unsafe on, instead of as the runs did.
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f32>,
    /// Where the pictures are, if not beside the benchmark or the predictions.
    #[arg(long, value_name = "DIR|TAR")]
    images: Option<PathBuf>,
    /// Rows to show in the page at most, chosen evenly.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = RangedU64ValueParser::<usize>::new().range(0..=2000))]
    examples: usize,
    /// Stands above everything.
    #[arg(long, value_name = "TEXT", default_value = "HoliSafe-Bench report")]
    title: String,
    #[command(flatten)]
    judge: JudgeArgs,
}

pub(crate) fn run(args: &ReportArgs) -> Result<(), CliError> {
    // Before anything is read: a wrong ending is found at once.
    let formats = args.out.iter().map(|out| ReportFormat::of(out)).collect::<Result<Vec<_>, _>>()?;
    let options = ReportOptions {
        title: args.title.clone(),
        // Only the page shows them.
        examples: if formats.contains(&ReportFormat::Html) { args.examples } else { 0 },
        threshold: args.threshold,
        images: args.images.clone(),
    };
    let mut judge = args.judge.build(&args.runs[0])?;
    let mut progress = Progress::counting("rows judged");
    let report = Report::of_files(&args.runs, &mut judge, &options, &mut |rows| progress.advance_by(rows));
    drop(progress);
    if let Some(usage) = judge.usage() {
        terminal::note(&usage);
    }
    let report = report?;
    let mut out = anstream::stdout();
    for (path, format) in args.out.iter().zip(formats) {
        let bytes = report.write(path)?;
        let rows: usize = report.runs.iter().map(|run| run.score.rows).sum();
        let shown = match format {
            ReportFormat::Html => {
                format!(", {} examples with {} pictures", report.examples.len(), report.pictures.len())
            }
            ReportFormat::Markdown | ReportFormat::Csv => String::new(),
        };
        let runs = report.runs.len();
        let size = size(bytes);
        let plural = if runs == 1 { "run" } else { "runs" };
        writeln!(out, "{}: {runs} {plural}, {rows} rows{shown}, {size}", path.display()).map_err(CliError::Output)?;
    }
    Ok(())
}

/// Bytes as people read them.
fn size(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
