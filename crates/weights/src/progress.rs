//! Progress bars for downloads and conversions: on a terminal only, on stderr.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar that may be switched off.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of `total` bytes, or a spinner where the total is not known.
    pub(crate) fn bytes(enabled: bool, message: String, total: Option<u64>) -> Self {
        let style = match total {
            Some(_) => "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {msg} {bytes} {elapsed}",
        };
        Self::new(enabled, message, total, style)
    }

    /// A bar of `total` steps.
    pub(crate) fn steps(enabled: bool, message: String, total: usize) -> Self {
        let total = Some(total as u64);
        Self::new(enabled, message, total, "{msg} [{wide_bar}] {pos}/{len} {eta}")
    }

    fn new(enabled: bool, message: String, total: Option<u64>, style: &str) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        bar.set_draw_target(if enabled && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        });
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(message);
        if total.is_none() && !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self(bar)
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.inc(amount);
    }

    pub(crate) fn set(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
