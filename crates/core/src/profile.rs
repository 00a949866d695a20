//! Where the time goes: named stretches of work, counted only between [`start`] and [`finish`].
//!
//! One measurement at a time for the whole process: it is for `safevlm bench`, not for a server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::Device;

/// What a stretch of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A part of the way from an image to a verdict and a text; stages do not contain one another.
    Stage,
    /// An operation within a stage; operations do not contain one another.
    Operation,
}

/// What an operation must do at least, whoever does it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations; a multiplication with an addition counts as two.
    pub flops: f64,
    /// Bytes that are read or written, each once.
    pub bytes: f64,
}

/// All stretches of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// How many there were.
    pub calls: usize,
    /// Their time.
    pub time: Duration,
    /// Their work.
    pub work: Work,
}

/// All stretches by kind and name.
pub type Totals = BTreeMap<(Kind, &'static str), Total>;

static ON: AtomicBool = AtomicBool::new(false);
static TOTALS: Mutex<Totals> = Mutex::new(BTreeMap::new());

/// Counts from here on, from nothing.
pub fn start() {
    TOTALS.lock().unwrap_or_else(PoisonError::into_inner).clear();
    ON.store(true, Ordering::Relaxed);
}

/// Stops counting, and tells what was counted.
pub fn finish() -> BTreeMap<(Kind, &'static str), Total> {
    ON.store(false, Ordering::Relaxed);
    std::mem::take(&mut TOTALS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Runs one stage. While counting, it waits for `device`, so that work that was only queued counts where it was asked
/// for.
pub fn stage<T>(name: &'static str, device: &Device, run: impl FnOnce() -> T) -> T {
    span(Kind::Stage, name, Some(device), Work::default, run)
}

/// Runs one operation on the host; `work` is asked only while counting.
pub fn operation<T>(name: &'static str, work: impl FnOnce() -> Work, run: impl FnOnce() -> T) -> T {
    span(Kind::Operation, name, None, work, run)
}

fn span<T>(
    kind: Kind,
    name: &'static str,
    device: Option<&Device>,
    work: impl FnOnce() -> Work,
    run: impl FnOnce() -> T,
) -> T {
    if !ON.load(Ordering::Relaxed) {
        return run();
    }
    let work = work();
    let begin = Instant::now();
    let result = run();
    if let Some(device) = device {
        // A device that failed says so where its result is read.
        let _ = device.sync();
    }
    let time = begin.elapsed();
    let mut totals = TOTALS.lock().unwrap_or_else(PoisonError::into_inner);
    let total = totals.entry((kind, name)).or_default();
    total.calls += 1;
    total.time += time;
    total.work.flops += work.flops;
    total.work.bytes += work.bytes;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happens_between_start_and_finish_counts() {
        let add = || operation("add", || Work { flops: 2.0, bytes: 8.0 }, || 1 + 1);
        add();
        start();
        assert_eq!((add(), add()), (2, 2));
        let totals = finish();
        add();
        let total = totals[&(Kind::Operation, "add")];
        assert_eq!((total.calls, total.work), (2, Work { flops: 4.0, bytes: 16.0 }));
        assert!(finish().is_empty());
    }
}
