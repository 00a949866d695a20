//! burn-train's dashboard, fed by our own loop.

use std::sync::Arc;

use burn_train::Interrupter;
use burn_train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer};

use crate::log::Line;

/// A curve: its name, whether higher is better, and what of a step it shows.
type Curve = (&'static str, bool, fn(&Line<'_>) -> Option<f64>);

const CURVES: [Curve; 6] = [
    ("Loss", false, |line| Some(line.loss)),
    ("Answer loss", false, |line| line.language),
    ("Guard loss", false, |line| line.guard),
    ("Guard accuracy", true, |line| line.accuracy),
    ("Gradient norm", false, |line| (line.gradient_norm > 0.0).then_some(line.gradient_norm)),
    ("Learning rate", false, |line| Some(line.rate)),
];

/// Curves, progress, and keys to look at them and to stop.
pub(crate) struct Dashboard {
    renderer: Box<dyn MetricsRenderer>,
    interrupter: Interrupter,
    steps: usize,
}

impl Dashboard {
    /// Takes over the terminal until it is dropped.
    pub(crate) fn new(steps: usize, first: usize) -> Self {
        let interrupter = Interrupter::new();
        let mut renderer: Box<dyn MetricsRenderer> =
            Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), None));
        for (name, higher_is_better, _) in CURVES {
            renderer.register_metric(MetricDefinition {
                metric_id: MetricId::new(Arc::new(name.to_owned())),
                name: Arc::new(name.to_owned()),
                description: None,
                attributes: MetricAttributes::Numeric(NumericAttributes { unit: None, higher_is_better }),
            });
        }
        renderer.start(1, 1, Some(steps), None);
        renderer.start_split("train", steps);
        renderer.update_split(first);
        Self { renderer, interrupter, steps }
    }

    pub(crate) fn step(&mut self, line: &Line<'_>) {
        for state in states(line) {
            self.renderer.update_train(state);
        }
        self.renderer.log_event_training(line.phase.to_owned());
        self.renderer.update_split(line.step);
    }

    pub(crate) fn measured(&mut self, line: &Line<'_>) {
        self.renderer.start_split("valid", self.steps);
        for state in states(line) {
            self.renderer.update_valid(state);
        }
        self.renderer.update_split(line.step);
        self.renderer.start_split("train", self.steps);
        self.renderer.update_split(line.step);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.interrupter.should_stop()
    }
}

/// What a step has of each curve.
fn states(line: &Line<'_>) -> impl Iterator<Item = MetricState> {
    CURVES.into_iter().filter_map(|(name, _, value)| {
        let value = value(line)?;
        let text = SerializedEntry::new(format!("{value:.4}"), value.to_string());
        let entry = MetricEntry::new(MetricId::new(Arc::new(name.to_owned())), text);
        Some(MetricState::Numeric(entry, Some(NumericEntry::Value(value))))
    })
}
