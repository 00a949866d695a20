//! `safevlm eval predict`

use clap::Args;

use crate::error::CliError;

/// Let a model answer every question of a benchmark.
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {}

pub(crate) fn run(_args: &PredictArgs) -> Result<(), CliError> {
    Err(CliError::Input("not built yet".to_owned()))
}
