//! Measuring Safe-VLMs: whether they refuse what they should, answer what they may, and classify
//! images rightly.

pub mod metrics;
mod refusal;
mod symbolic;

pub use refusal::official_refusal;
pub use symbolic::{Counts, EvalError, Report, Settings, symbolic};
