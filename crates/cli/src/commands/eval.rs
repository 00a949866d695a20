//! `safevlm eval`

mod judges;
mod llm_args;
mod merge;
mod perplexity;
pub(crate) mod predict;
mod report;
mod score;
mod score_guard;
mod score_table;

use clap::{Args, Subcommand};

use crate::error::CliError;

const EXAMPLES: &str = "\
Example:
  safevlm data compose --split held-out --scenes 250 --out bench
  safevlm eval predict --bench bench/holisafe_bench.json --out safe-smol.jsonl
  safevlm eval score safe-smol.jsonl
  safevlm eval report safe-smol.jsonl --out report.html";

/// Measure models on HoliSafe-Bench, or on another benchmark in its format.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct EvalArgs {
    #[command(subcommand)]
    command: EvalCommand,
}

#[derive(Debug, Subcommand)]
enum EvalCommand {
    Predict(predict::PredictArgs),
    Merge(merge::MergeArgs),
    Perplexity(perplexity::PerplexityArgs),
    Report(report::ReportArgs),
    Score(score::ScoreArgs),
}

pub(crate) fn run(args: &EvalArgs) -> Result<(), CliError> {
    match &args.command {
        EvalCommand::Predict(args) => predict::run(args),
        EvalCommand::Merge(args) => merge::run(args),
        EvalCommand::Perplexity(args) => perplexity::run(args),
        EvalCommand::Report(args) => report::run(args),
        EvalCommand::Score(args) => score::run(args),
    }
}
