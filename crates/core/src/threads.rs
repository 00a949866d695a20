//! How many threads compute on the CPU.

use std::thread::available_parallelism;

use thiserror::Error;

/// A number of threads that this machine cannot use.
#[derive(Debug, Error, PartialEq)]
pub enum ThreadsError {
    /// None, or more than there are processors.
    #[error(
        "{threads} threads cannot compute here: choose from 1 to {cores}, the processors that this program may use"
    )]
    OutOfRange {
        /// What was asked for.
        threads: usize,
        /// The most that there are.
        cores: usize,
    },
    /// Something has computed before.
    #[error("the number of threads cannot change once something was computed: set it first")]
    TooLate,
}

/// Processors that this program may use.
pub fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Threads that compute on the CPU.
pub fn count() -> usize {
    rayon::current_num_threads()
}

/// Computes with so many threads from here on. It must be called before anything computes.
///
/// # Errors
///
/// If there are not so many processors, or something has computed before.
pub fn set(threads: usize) -> Result<(), ThreadsError> {
    let cores = cores();
    if threads == 0 || threads > cores {
        return Err(ThreadsError::OutOfRange { threads, cores });
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|_| ThreadsError::TooLate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_threads_and_too_many_are_refused() {
        for threads in [0, cores() + 1, usize::MAX] {
            assert_eq!(set(threads), Err(ThreadsError::OutOfRange { threads, cores: cores() }));
        }
    }
}
