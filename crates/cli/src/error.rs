//! How a command ends when it does not succeed.

use std::io;
use std::process::ExitCode;

use safevlm_core::threads::ThreadsError;
use safevlm_data::DataError;
use safevlm_eval::EvalError;
use safevlm_train::TrainError;

use crate::terminal;

/// Exit status for bad input or usage.
pub(crate) const BAD_INPUT: u8 = 2;
/// Exit status for a failure while running.
pub(crate) const FAILURE: u8 = 1;

/// An error of the command line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Model(#[from] safevlm::Error),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Bad input that no library sees.
    #[error("{0}")]
    Input(String),
    #[error("cannot write to standard output ({0}); check where it goes and the free space")]
    Output(#[source] io::Error),
    #[error("cannot read from standard input ({0}); use `--prompt`")]
    Stdin(#[source] io::Error),
    /// The guard head gave too few or too many verdicts.
    #[error("the guard gave {verdicts} verdicts on {images} images, so none is trusted; import the model again")]
    MissingVerdicts { images: usize, verdicts: usize },
    /// Some files failed and were reported one by one.
    #[error("some files failed")]
    Reported(u8),
}

impl CliError {
    /// 2 for bad input or usage, 1 for a failure while running.
    fn exit_status(&self) -> u8 {
        match self {
            CliError::Model(error) => error.exit_code(),
            CliError::Data(error) if error.is_bad_input() => BAD_INPUT,
            CliError::Data(_) => FAILURE,
            CliError::Eval(error) => error.exit_code(),
            CliError::Train(error) => error.exit_code(),
            CliError::Input(_) | CliError::Threads(_) => BAD_INPUT,
            CliError::Output(_) | CliError::Stdin(_) | CliError::MissingVerdicts { .. } => FAILURE,
            CliError::Reported(status) => *status,
        }
    }

    /// Says what went wrong, unless it was said already, and gives the exit status. A reader that
    /// went away (`| head`) is no failure.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            CliError::Reported(_) => {}
            error => terminal::report_error(error),
        }
        ExitCode::from(self.exit_status())
    }
}
