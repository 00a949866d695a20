//! HoliSafe-Bench: predict, judge, measure, report.
//!
//! Rows with answers ([`Prediction`]) go through a [`Judge`], and what it finds is counted in a [`Score`].

mod compare;
mod error;
mod hash;
mod judge;
mod merge;
pub mod metrics;
mod plan;
mod predict;
mod prediction;
mod report;
mod run;
mod score;

pub use compare::{Comparison, compare};
pub use error::EvalError;
pub use hash::hash_path;
pub use judge::{
    DEFAULT_PROMPT, Judge, Judgement, LlmError, LlmJudge, LlmJudgeConfig, LlmUsage, OfficialString, Prices, Secret,
    StringJudge, official_refusal, refusal,
};
pub use merge::merge;
pub use plan::{Bench, Survey};
pub use predict::{PredictRun, Step};
pub use prediction::{Prediction, Predictions};
pub use report::{
    Example, PUBLISHED, Published, PublishedModel, Report, ReportFormat, ReportOptions, ReportRun, RunComparison,
};
pub use run::{RunInfo, RunTimings, Settings, Shard, run_info_path};
pub use score::{
    Agreement, Calibration, CategoryScore, Chosen, Decision, GuardScore, Outcome, Rate, ReliabilityBin, Score,
    ScoreOptions, Scored, Temperature, TypeRates, calibrate, score,
};
