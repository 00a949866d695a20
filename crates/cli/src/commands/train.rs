//! `safevlm train`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use safevlm::DeviceSpec;
use safevlm_train::Recipe;

use crate::error::CliError;
use crate::terminal::stderr_is_terminal;

const EXAMPLES: &str = "\
A run that was stopped goes on from its last checkpoint when the same command is given again.

Examples:
  safevlm train recipes/safe-smol.toml
  safevlm train recipes/safe-llava-7b.toml --dry-run
  safevlm train recipes/safe-smol.toml seed=2 learning_rate.lora=1e-4 output=runs/second";

/// Train a model as a recipe says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArgs {
    /// The recipe, a TOML file.
    recipe: PathBuf,
    /// Settings that replace the recipe's; keys may have dots.
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Check the recipe, its base and its data, say what would be trained, and end.
    #[arg(long)]
    dry_run: bool,
    /// auto, flex (the CPU), wgpu[:N], vulkan[:N], metal[:N] or cuda[:N].
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    let recipe = Recipe::read(&args.recipe, &args.settings)?;
    if args.dry_run {
        let plan = safevlm_train::plan(&recipe)?;
        return writeln!(anstream::stdout(), "{plan}").map_err(CliError::Output);
    }
    let summary = safevlm_train::run(&recipe, &args.device, stderr_is_terminal())?;
    writeln!(anstream::stdout(), "{}", summary.adapter.display()).map_err(CliError::Output)
}
