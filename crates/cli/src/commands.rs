//! One file a command.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod eval;
pub(crate) mod guard;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod merge;
pub(crate) mod models;
mod talk;
pub(crate) mod train;

use safevlm_core::threads;

use crate::args::{Cli, Command};
use crate::error::CliError;

/// Runs a command to its end.
pub(crate) fn run(cli: Cli) -> Result<(), CliError> {
    if let Some(threads) = cli.threads {
        threads::set(threads)?;
    }
    match cli.command {
        Command::Models(args) => models::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Guard(args) => guard::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}
