//! HoliSafe-Bench: predict, judge, measure, report.
//!
//! Rows with answers ([`Prediction`]) go through a [`Judge`], and what it finds is counted in a [`Score`].

mod error;
mod judge;
pub mod metrics;
mod prediction;
mod run;
mod score;

pub use error::EvalError;
pub use judge::{Judge, Judgement, OfficialString, StringJudge, judge_by_name, official_refusal, refusal};
pub use prediction::{Prediction, Predictions};
pub use run::{RunInfo, RunTimings, Settings, Shard, run_info_path};
pub use score::{Agreement, CategoryScore, Decision, GuardScore, Rate, ReliabilityBin, Score, Temperature, TypeRates};
