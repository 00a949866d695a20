//! A progress bar that short work never shows.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::stderr_is_terminal;

/// Work that takes longer shows its progress.
const PATIENCE: Duration = Duration::from_secs(2);

/// Progress over a known number of items, on standard error when that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    begin: Instant,
    waiting: bool,
}

impl Progress {
    /// Over images.
    pub(crate) fn new(items: usize) -> Self {
        Self::over(items, "images")
    }

    /// Over `items` things of which `what` is the plural.
    pub(crate) fn over(items: usize, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(items as u64), ProgressDrawTarget::hidden());
        let template = format!("{{bar:32}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Self { bar, begin: Instant::now(), waiting: stderr_is_terminal() }
    }

    /// Over things of which nobody knows the number; `what` is the plural.
    pub(crate) fn counting(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(&format!("{{spinner}} {{pos}} {what}, {{per_sec}}")) {
            bar.set_style(style);
        }
        Self { bar, begin: Instant::now(), waiting: stderr_is_terminal() }
    }

    /// One item is done.
    pub(crate) fn advance(&mut self) {
        self.advance_by(1);
    }

    /// Several items are done.
    pub(crate) fn advance_by(&mut self, items: usize) {
        self.bar.inc(items as u64);
        if self.waiting && self.begin.elapsed() > PATIENCE {
            self.waiting = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// So many items were done before: they tell nothing about the rate.
    pub(crate) fn begin_at(&mut self, items: usize) {
        self.bar.set_position(items as u64);
        self.bar.reset_eta();
    }

    /// Writes something while the bar is out of its way.
    pub(crate) fn hidden<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
