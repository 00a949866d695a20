//! Numbers about rates and classifiers; the README defines each one and names its source.

mod bootstrap;
mod calibration;
mod classes;
mod ranking;
mod temperature;
mod wilson;

pub use bootstrap::{Difference, PairedCounts, Resamples};
pub use calibration::{expected_calibration_error, reliability};
pub use classes::Confusion;
pub use ranking::Ranking;
pub use temperature::{Temper, fit_temperature};
pub use wilson::wilson;
