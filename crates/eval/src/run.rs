//! What is written beside a file of predictions: how they came about.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Everything that decides what a model answers. Rows of different settings are never mixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The model's name.
    pub model: String,
    /// SHA-256 of the model's files.
    pub model_sha256: String,
    /// The benchmark's file name.
    pub bench: String,
    /// SHA-256 of the benchmark's file.
    pub bench_sha256: String,
    /// The type that was computed in.
    pub dtype: String,
    /// Tokens of an answer at most.
    pub max_new_tokens: usize,
    /// 0 is greedy.
    pub temperature: f64,
    /// Draws from the most likely tokens only.
    pub top_k: Option<usize>,
    /// Draws from the most likely tokens that together reach this probability.
    pub top_p: Option<f64>,
    /// Above 1 makes repetition less likely.
    pub repetition_penalty: f64,
    /// Seed of the draws.
    pub seed: u64,
    /// Strings that end an answer.
    pub stop: Vec<String>,
    /// What stands before each question.
    pub system: Option<String>,
    /// From this probability of being unsafe on, an image is flagged.
    pub threshold: f32,
}

/// One part of a benchmark that is split over machines: part `index` of `count`, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1 to `count`.
    pub index: u32,
    /// Number of parts.
    pub count: u32,
}

/// How long a run took, over all its resumptions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimings {
    /// Seconds of computing, without loading the model.
    pub seconds: f64,
    /// Seconds of loading the model, each time.
    pub load_seconds: f64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Rows a second.
    pub rows_per_second: f64,
    /// How often the run was started.
    pub starts: u32,
}

/// The file beside the predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// What decided the answers.
    pub settings: Settings,
    /// SHA-256 of `settings`, as canonical JSON.
    pub settings_sha256: String,
    /// Which part of the benchmark; none for the whole.
    pub shard: Option<Shard>,
    /// Where it ran.
    pub device: String,
    /// Rows that were answered together at most.
    pub batch: usize,
    /// Threads of the CPU.
    pub threads: usize,
    /// This program's version.
    pub safevlm_version: String,
    /// Rows in the file.
    pub rows: usize,
    /// Whether all rows are done.
    pub finished: bool,
    /// When it was begun, in seconds since 1970.
    pub started_unix: u64,
    /// How long it took.
    pub timings: RunTimings,
}

/// Where the [`RunInfo`] of a file of predictions is: `a.jsonl` has `a.run.json`.
pub fn run_info_path(predictions: &Path) -> PathBuf {
    predictions.with_extension("run.json")
}
