//! One file a command.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod eval;
pub(crate) mod guard;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod models;
mod talk;
pub(crate) mod train;

use crate::args::Command;
use crate::error::CliError;

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Models(args) => models::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Guard(args) => guard::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}
