//! `safevlm data check`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use safevlm_data::{Check, CheckOptions, Finding, RowFormat, check};

use crate::error::{BAD_INPUT, CliError};
use crate::progress::Progress;
use crate::terminal::{ALARM, CALM, DIM, TITLE, WARNING, harmless};

/// Examples that are shown of each kind of problem; `--json` has more.
const SHOWN: usize = 5;

const EXAMPLES: &str = "\
The exit status is 2 where rows break the format, ids occur twice, or pictures are missing or cannot be decoded.
A picture whose class differs between rows is no fault: HoliSafe-Bench has five.

Examples:
  safevlm data check holisafe_bench.json
  safevlm data check test-00000-of-00001.parquet --json
  safevlm data check llava.json --images images.tar
  safevlm data check answers.jsonl --no-images";

/// Say what a data set holds and what is wrong with it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Rows of HoliSafe-Bench as JSON, JSON lines or Parquet (a file, or a folder with the files of a split), or
    /// LLaVA's conversations.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Where the pictures are, if not in the folder `images` beside the file or in it.
    #[arg(long, value_name = "DIR|TAR")]
    images: Option<PathBuf>,
    /// Leave the pictures alone.
    #[arg(long, conflicts_with = "images")]
    no_images: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let options = CheckOptions { images: args.images.clone(), no_images: args.no_images };
    let mut progress = Progress::counting("rows");
    let found = check(&args.path, &options, &mut || progress.advance())?;
    drop(progress);
    let mut out = anstream::stdout();
    let written = match args.json {
        true => serde_json::to_string(&found).map_err(io::Error::from).and_then(|json| writeln!(out, "{json}")),
        false => write(&mut out, &found, args.no_images),
    };
    written.map_err(CliError::Output)?;
    if found.is_sound() { Ok(()) } else { Err(CliError::Reported(BAD_INPUT)) }
}

fn write(out: &mut dyn Write, found: &Check, no_images: bool) -> io::Result<()> {
    let format = match found.format {
        RowFormat::Bench => "HoliSafe-Bench's format",
        RowFormat::Llava => "LLaVA's format",
    };
    writeln!(out, "{TITLE}{} rows in {format}, {} pictures{TITLE:#}", found.rows, found.images)?;
    let names = |counts: Vec<(&str, usize)>| {
        counts.iter().map(|(name, count)| format!("{} {count}", harmless(name))).collect::<Vec<_>>().join(", ")
    };
    let types = names(found.types.iter().map(|(name, count)| (*name, *count)).collect());
    let categories = names(found.categories.iter().map(|(name, count)| (name.as_str(), *count)).collect());
    let labels = names(found.labels.iter().map(|(name, count)| (*name, *count)).collect());
    for (title, counts) in [("types", types), ("categories", categories), ("classes", labels)] {
        if !counts.is_empty() {
            writeln!(out, "{DIM}{title:11}{DIM:#} {counts}")?;
        }
    }
    writeln!(out)?;
    finding(out, "rows that break the format", &found.broken_rows, ALARM)?;
    finding(out, "ids that occur twice", &found.duplicate_ids, ALARM)?;
    if no_images {
        writeln!(out, "{DIM}  pictures were left alone{DIM:#}")?;
    } else {
        finding(out, "missing pictures", &found.missing_images, ALARM)?;
        finding(out, "pictures that cannot be decoded", &found.unreadable_images, ALARM)?;
    }
    finding(out, "pictures with several classes", &found.conflicting_labels, WARNING)?;
    if found.other_folder > 0 {
        writeln!(out, "{DIM}  {} rows are about another topic than their picture's folder{DIM:#}", found.other_folder)?;
    }
    Ok(())
}

fn finding(out: &mut dyn Write, what: &str, finding: &Finding, style: anstyle::Style) -> io::Result<()> {
    if finding.count == 0 {
        return writeln!(out, "{CALM}✓{CALM:#} no {what}");
    }
    writeln!(out, "{style}✗ {} {what}{style:#}", finding.count)?;
    for example in finding.examples.iter().take(SHOWN) {
        writeln!(out, "    {}", harmless(example))?;
    }
    match finding.count.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "{DIM}    and {more} more{DIM:#}"),
    }
}
