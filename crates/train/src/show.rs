//! What a person sees of a run: a progress line, or burn-train's dashboard.

use indicatif::{ProgressBar, ProgressStyle};

#[cfg(feature = "dashboard")]
use crate::dashboard::Dashboard;
use crate::log::Line;

/// How a run shows how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// Not at all.
    #[default]
    Nothing,
    /// As a line on standard error.
    Line,
    /// As curves over the whole terminal, which must be one: burn-train's dashboard.
    #[cfg(feature = "dashboard")]
    Dashboard,
}

/// What is on the screen.
pub(crate) enum Shown {
    Line(ProgressBar),
    #[cfg(feature = "dashboard")]
    Dashboard(Dashboard),
}

impl Shown {
    /// Of a run with `steps` steps that begins behind step `first`.
    pub(crate) fn new(steps: usize, first: usize, show: Show) -> Self {
        #[cfg(feature = "dashboard")]
        if show == Show::Dashboard {
            return Self::Dashboard(Dashboard::new(steps, first));
        }
        let template = "{bar:24} {pos}/{len} {msg} [{elapsed}, {eta} left]";
        let bar = bar(steps, template, show);
        bar.set_position(first as u64);
        bar.reset_eta();
        Self::Line(bar)
    }

    /// Takes note of a step.
    pub(crate) fn step(&mut self, line: &Line<'_>) {
        match self {
            Self::Line(bar) => {
                bar.set_message(line.message());
                bar.inc(1);
            }
            #[cfg(feature = "dashboard")]
            Self::Dashboard(dashboard) => dashboard.step(line),
        }
    }

    /// Takes note of a measurement on other data.
    pub(crate) fn measured(&mut self, line: &Line<'_>) {
        match self {
            Self::Line(bar) => bar.println(line.message()),
            #[cfg(feature = "dashboard")]
            Self::Dashboard(dashboard) => dashboard.measured(line),
        }
    }

    /// Whether somebody has asked for an end.
    pub(crate) fn stopped(&self) -> bool {
        match self {
            Self::Line(_) => false,
            #[cfg(feature = "dashboard")]
            Self::Dashboard(dashboard) => dashboard.stopped(),
        }
    }

    /// Leaves the last line where it is.
    pub(crate) fn finish(self) {
        if let Self::Line(bar) = self {
            bar.finish();
        }
    }
}

/// Scenes that are encoded before a phase of grounding.
pub(crate) fn scene_bar(scenes: usize, show: Show) -> ProgressBar {
    bar(scenes, "encoding {bar:24} {pos}/{len} scenes [{eta} left]", show)
}

fn bar(length: usize, template: &str, show: Show) -> ProgressBar {
    let bar = if show == Show::Line { ProgressBar::new(length as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

impl Line<'_> {
    pub(crate) fn message(&self) -> String {
        let part = |name: &str, value: Option<f64>| value.map_or(String::new(), |v| format!("{name} {v:.3} "));
        let Some(accuracy) = self.accuracy else { return format!("{} loss {:.3}", self.phase, self.loss) };
        let (answer, guard) = (part("answer", self.language), part("guard", self.guard));
        format!("{} {answer}{guard}accuracy {accuracy:.2}", self.phase)
    }
}
