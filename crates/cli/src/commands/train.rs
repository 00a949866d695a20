//! `safevlm train`

mod card;

#[cfg(feature = "dashboard")]
use std::io::IsTerminal;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use safevlm::DeviceSpec;
use safevlm_train::{Peers, Recipe, Show};

use crate::error::CliError;
use crate::terminal::stderr_is_terminal;

const EXAMPLES: &str = "\
A run that was stopped goes on from its last checkpoint when the same command is given again. What it has learned is an \
adapter in PEFT's format, which `safevlm merge` puts into the base. A recipe with a `card` is measured at its end, beside \
the base. Built with the feature `mpi`, several processes train together.

Examples:
  safevlm train recipes/safe-smol.toml
  safevlm train recipes/safe-llava-7b.toml --dry-run
  safevlm train recipes/safe-smol.toml --dashboard
  safevlm train recipes/safe-smol.toml seed=2 learning_rate.lora=1e-4 output=runs/second
  mpirun -n 2 safevlm train recipes/safe-smol.toml
  safevlm train plot runs/safe-smol
  safevlm train card runs/safe-smol
  safevlm train card runs/safe-smol --bench a/holisafe_bench.json --validation b/holisafe_bench.json";

/// Train a model as a recipe says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct TrainArgs {
    #[command(subcommand)]
    command: Option<TrainCommand>,
    /// The recipe, a TOML file.
    #[arg(required = true)]
    recipe: Option<PathBuf>,
    /// Settings that replace the recipe's; keys may have dots, and places in lists.
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Check the recipe, its base and its data, say what would be trained, and end.
    #[arg(long)]
    dry_run: bool,
    /// Show curves over the whole terminal instead of a line; `q`, then `s`, stops the run, which can go on later.
    #[cfg(feature = "dashboard")]
    #[arg(long, conflicts_with = "dry_run")]
    dashboard: bool,
    /// auto, flex (the CPU), wgpu[:N], vulkan[:N], metal[:N] or cuda[:N].
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

#[derive(Debug, Subcommand)]
enum TrainCommand {
    /// Draw the curves of a run, also of one that is still going.
    Plot {
        /// The run's output folder.
        #[arg(value_name = "RUN")]
        run: PathBuf,
        /// The SVG to write; curves.svg in the run's folder where it is not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    Card(card::CardArgs),
}

impl TrainArgs {
    fn show(&self) -> Result<Show, CliError> {
        #[cfg(feature = "dashboard")]
        if self.dashboard {
            // Keys come from standard input, and the curves go to standard output.
            let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
            let missing = || CliError::Input("a dashboard needs a terminal: leave out `--dashboard`".to_owned());
            return terminal.then_some(Show::Dashboard).ok_or_else(missing);
        }
        Ok(if stderr_is_terminal() { Show::Line } else { Show::Nothing })
    }
}

pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    let print = |line: &dyn std::fmt::Display| writeln!(anstream::stdout(), "{line}").map_err(CliError::Output);
    match &args.command {
        Some(TrainCommand::Plot { run, out }) => {
            let out = out.clone().unwrap_or_else(|| run.join("curves.svg"));
            safevlm_train::plot(run, &out)?;
            return print(&out.display());
        }
        Some(TrainCommand::Card(args)) => return print(&card::write(args)?.display()),
        None => {}
    }
    let Some(recipe) = &args.recipe else { return Ok(()) };
    let recipe = Recipe::read(recipe, &args.settings)?;
    if args.dry_run {
        return print(&safevlm_train::plan(&recipe)?);
    }
    let show = args.show()?;
    let peers = Peers::join();
    let summary = safevlm_train::run_together(&recipe, &args.device, &peers, show)?;
    if !peers.leads() {
        return Ok(());
    }
    print(&summary.adapter.display())?;
    // The others have ended: one device answers.
    match card::at_the_end(&recipe, args.device)? {
        Some(card) => print(&card.display()),
        None => Ok(()),
    }
}
