//! `safevlm`: ask about images, and let the same forward pass say whether they are harmful.
//!
//! Answers go to standard output, everything else to standard error. An error is one sentence with
//! its remedy; the exit status is 2 for bad input or usage, 1 for a failure while running, else 0.

mod args;
mod commands;
mod error;
mod inputs;
mod progress;
mod terminal;
mod usage;
mod verdicts;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;

fn main() -> ExitCode {
    safevlm_kernels::keep_freed_memory();
    let outcome = match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => return usage::report(&error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
