//! `safevlm merge`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use safevlm::{merge_adapter, registry};

use crate::error::CliError;
use crate::terminal::stderr_is_terminal;

const EXAMPLES: &str = "\
The result is a plain checkpoint under the base's names and in its types, with its tokenizer and settings: `--model` takes it,
and so does the reference implementation.

Examples:
  safevlm merge safe-smol-base runs/safe-smol/adapter --out my-safe-smol
  safevlm merge path/to/llava path/to/peft-adapter --out merged";

/// Merge an adapter, as `safevlm train` or PEFT writes it, into its base model.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MergeArgs {
    /// A name from `safevlm models`, or a folder with a config.json.
    #[arg(value_name = "BASE")]
    base: String,
    /// A folder with an adapter in PEFT's format.
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// The folder to write, which must not hold anything else.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &MergeArgs) -> Result<(), CliError> {
    let base = registry::resolve(&args.base)?;
    let folder = merge_adapter(&base, &args.adapter, &args.out, stderr_is_terminal()).map_err(safevlm::Error::from)?;
    writeln!(anstream::stdout(), "{}", folder.display()).map_err(CliError::Output)
}
