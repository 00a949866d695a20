//! `safevlm data`

mod check;
mod compose;

use clap::{Args, Subcommand};

use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  safevlm data compose --split held-out --scenes 500 --out scenes/
  safevlm data check scenes/holisafe_bench.json";

/// Make data sets, and check them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    Compose(compose::ComposeArgs),
    Check(check::CheckArgs),
}

pub(crate) fn run(args: &DataArgs) -> Result<(), CliError> {
    match &args.command {
        DataCommand::Compose(args) => compose::run(args),
        DataCommand::Check(args) => check::run(args),
    }
}
