//! `safevlm eval merge`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use safevlm_eval::merge;

use crate::error::CliError;

const EXAMPLES: &str = "\
Example:
  safevlm eval merge part-*.jsonl --out answers.jsonl";

/// Join the parts that `safevlm eval predict --shard` made, and check that they are all there.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MergeArgs {
    /// The parts, each with its .run.json beside it.
    #[arg(required = true, value_name = "PART")]
    parts: Vec<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &MergeArgs) -> Result<(), CliError> {
    let info = merge(&args.parts, &args.out)?;
    writeln!(anstream::stdout(), "{}: {} rows of {} parts", args.out.display(), info.rows, args.parts.len())
        .map_err(CliError::Output)
}
