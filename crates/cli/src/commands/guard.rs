//! `safevlm guard`

mod heatmaps;
mod out;
mod parquet_file;
mod report;
mod results;
mod table;
mod walk;

use std::path::PathBuf;

use clap::Args;
use safevlm::{Heatmap, SafeVlm, Verdict};

use crate::args::ModelArgs;
use crate::commands::guard::heatmaps::Pictures;
use crate::commands::guard::report::Report;
use crate::commands::guard::walk::{Batch, Walk};
use crate::error::{BAD_INPUT, CliError};
use crate::inputs;
use crate::progress::Progress;

const EXAMPLES: &str = "\
A file that cannot be used is reported, the others are still done, and the exit status is 2.

With --out the verdicts go into one table: path, label, label_id, category, flagged, unsafe_probability, threshold, \
the probability of each class under its label, and error, which says why a file has no verdict. A run that was \
stopped, however hard, goes on when the command is given again: what is done is in FILE.partial.jsonl until then.

With --heatmap the guard also judges each visual token alone, which shows where it finds harm: violet is a little \
unsafe, red more, orange certain. The picture itself is grey, and dark where a model that crops does not see it.

Examples:
  safevlm guard photo.jpg
  safevlm guard photos/ \"scans/*.png\" --threshold 0.8
  safevlm guard photos/ --json | jq -r 'select(.safety.flagged).path'
  safevlm guard photos/ --out verdicts.parquet
  safevlm guard photo.jpg --heatmap where.png";

/// Say of each image whether it is harmful, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GuardArgs {
    /// Images, folders (with all that is below them) or patterns.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print one JSON object a line for each image: {"path": ..., "safety": {...}}; with --out one about the run.
    #[arg(long)]
    json: bool,
    /// Classes in the chart below each image, on a terminal; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    /// Write the verdicts into a table that ends in .parquet, .csv or .jsonl, and go on where a run was stopped.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["heatmap", "top"])]
    out: Option<PathBuf>,
    /// Begin anew: forget what a stopped run has done, and replace the table of a finished one.
    #[arg(long, requires = "out")]
    restart: bool,
    /// Draw where the harm is over the image: a .png for one image, a folder for several.
    #[arg(long, value_name = "PNG|DIR")]
    heatmap: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

/// What the guard says of one image.
pub(crate) struct Judged {
    verdict: Verdict,
    heat: Option<Heat>,
}

/// Where the harm is, and the picture that shows it.
struct Heat {
    picture: PathBuf,
    map: Heatmap,
}

pub(crate) fn run(args: &GuardArgs) -> Result<(), CliError> {
    args.model.check_device()?;
    if let Some(out) = &args.out {
        return out::run(args, out);
    }
    let (files, errors) = inputs::expand(&args.paths);
    let pictures = args.heatmap.as_ref().map(|to| Pictures::plan(to, &files)).transpose()?;
    let mut model: Option<SafeVlm> = None;
    let judge = |batch: &Batch<'_>| -> Result<Vec<Judged>, CliError> {
        // Loaded with the first image that can be used: without one there is no need to.
        let model = match &mut model {
            Some(model) => model,
            none => none.insert(args.model.load()?),
        };
        match &pictures {
            Some(pictures) => batch.iter().map(|(path, image)| pictures.judge(model, path, image)).collect(),
            None => judge(model, batch),
        }
    };
    let report = Report::new(args.json, args.top);
    let mut walk = Walk::new(report, judge, Progress::new(files.len()));
    for error in &errors {
        walk.failed(BAD_INPUT, error);
    }
    walk.all(&files)?;
    ended(walk.status())
}

/// The verdicts on a batch, from one forward pass.
fn judge(model: &SafeVlm, batch: &Batch<'_>) -> Result<Vec<Judged>, CliError> {
    let images: Vec<_> = batch.iter().map(|(_, image)| image).collect();
    let verdicts = model.guard(&images)?;
    Ok(verdicts.into_iter().map(|verdict| Judged { verdict, heat: None }).collect())
}

/// How a command ends whose worst file ended with `status`.
fn ended(status: u8) -> Result<(), CliError> {
    if status == 0 { Ok(()) } else { Err(CliError::Reported(status)) }
}
