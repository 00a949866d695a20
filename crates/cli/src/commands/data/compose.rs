//! `safevlm data compose`

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use safevlm::Cache;
use safevlm_data::{PictureSets, Split, compose_to_folder};

use crate::error::CliError;
use crate::terminal::stderr_is_terminal;

const EXAMPLES: &str = "\
The picture sets are fetched the first time and kept in the cache. The same split and seeds give the same bytes on every machine.

Examples:
  safevlm data compose --out scenes/
  safevlm data compose --split held-out --scenes 500 --seed 1 --out held-out/";

/// Compose labelled scenes with questions and target answers, in the layout of HoliSafe-Bench.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ComposeArgs {
    /// Which vendors' symbols: those of training, or those that training never sees.
    #[arg(long, value_enum, default_value_t = SplitName::Train)]
    split: SplitName,
    /// How many scenes.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    scenes: u32,
    /// Seed of the first scene; the others have the seeds that follow.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=LAST_SEED))]
    seed: u64,
    /// The folder to make; it must be new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Leaves room for a seed for each scene.
const LAST_SEED: u64 = u64::MAX - u32::MAX as u64;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SplitName {
    Train,
    HeldOut,
}

pub(crate) fn run(args: &ComposeArgs) -> Result<(), CliError> {
    let split = match args.split {
        SplitName::Train => Split::Train,
        SplitName::HeldOut => Split::HeldOut,
    };
    let progress = stderr_is_terminal();
    let cache = Cache::open(None).map_err(safevlm::Error::from)?;
    let sets = PictureSets::load(&cache, split, progress)?;
    let summary = compose_to_folder(&sets, args.scenes as usize, args.seed, &args.out, progress)?;
    let mut out = anstream::stdout();
    let rows: usize = summary.rows.values().sum();
    writeln!(out, "{}: {} scenes of the split {split}, {rows} rows", args.out.display(), summary.scenes)
        .and_then(|()| {
            let mut counts = summary.rows.iter();
            counts.try_for_each(|(combination, count)| writeln!(out, "  {:4} {count}", combination.as_str()))
        })
        .map_err(CliError::Output)
}
