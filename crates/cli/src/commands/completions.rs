//! `safevlm completions`

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  safevlm completions bash > ~/.local/share/bash-completion/completions/safevlm
  safevlm completions zsh > ~/.zfunc/_safevlm
  safevlm completions fish > ~/.config/fish/completions/safevlm.fish";

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    // clap_complete panics when its writer fails, and a pipe may close at any time.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "safevlm", &mut script);
    std::io::stdout().write_all(&script).map_err(CliError::Output)
}
