//! What is written beside a file of predictions: how they came about.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use safevlm_data::{DataError, write_whole};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;

/// Everything that decides what a model answers. Rows of different settings are never mixed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The model's name.
    pub model: String,
    /// SHA-256 of the model's files, and of its adapter's where it has one.
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

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err("give I/N with I from 1 to N, such as 1/4".to_owned()),
        }
    }
}

/// How long a run took, over all its resumptions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimings {
    /// Seconds of computing, without loading the model; what a kill interrupts is lost.
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Rows that were left out, since they break the format or their pictures cannot be used.
    pub left_out: usize,
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

/// The file may have this many bytes; it has about two thousand.
const FILE_LIMIT: u64 = 1 << 20;

impl RunInfo {
    /// Reads the file; none where there is none.
    ///
    /// # Errors
    /// When it cannot be read or is not one.
    pub fn read(path: &Path) -> Result<Option<Self>, DataError> {
        let unreadable = |source| DataError::Io { doing: "read", path: path.to_path_buf(), source };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unreadable)?,
        };
        let mut text = String::new();
        file.take(FILE_LIMIT).read_to_string(&mut text).map_err(unreadable)?;
        let bad = |error: serde_json::Error| DataError::BadFile {
            path: path.to_path_buf(),
            row: error.line(),
            reason: format!("it does not describe a run ({error})"),
        };
        serde_json::from_str(&text).map(Some).map_err(bad)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        write_whole(path, |out| {
            let written = serde_json::to_writer_pretty(&mut *out, self).map_err(io::Error::from);
            let ended = written.and_then(|()| writeln!(out));
            ended.map_err(|source| DataError::Io { doing: "write", path: path.to_path_buf(), source })
        })
    }

    /// An error that names the first setting of this run that differs from `settings` and `shard`.
    pub(crate) fn refuse_others(&self, out: &Path, settings: &Settings, shard: Option<Shard>) -> Result<(), EvalError> {
        let different = |setting: &str, old: String, new: String| EvalError::OtherSettings {
            path: out.to_path_buf(),
            setting: setting.to_owned(),
            old,
            new,
        };
        let show = |shard: Option<Shard>| shard.map_or("the whole".to_owned(), |shard| shard.to_string());
        if shard != self.shard {
            return Err(different("shard", show(self.shard), show(shard)));
        }
        let [old, new] = [&self.settings, settings].map(|s| serde_json::to_value(s).unwrap_or_default());
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return Ok(()) };
        match new.iter().find(|(name, value)| old.get(*name) != Some(value)) {
            Some((name, value)) => {
                let was = old.get(name).map_or("missing".to_owned(), ToString::to_string);
                Err(different(name, was, value.to_string()))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_parsed_strictly() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, count: 4 }));
        for bad in ["0/4", "5/4", "1", "1/0", "-1/2", "a/b", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_setting_that_differs_is_named() {
        let old = RunInfo { settings: Settings { max_new_tokens: 32, ..Settings::default() }, ..RunInfo::default() };
        let out = Path::new("a.jsonl");
        assert!(old.refuse_others(out, &old.settings, None).is_ok());
        let new = Settings { max_new_tokens: 64, ..old.settings.clone() };
        let error = old.refuse_others(out, &new, None).unwrap_err().to_string();
        assert!(error.contains("`max_new_tokens` was 32 and would be 64"), "{error}");
        let error = old.refuse_others(out, &old.settings, Some(Shard { index: 1, count: 2 })).unwrap_err().to_string();
        assert!(error.contains("`shard` was the whole and would be 1/2"), "{error}");
    }
}
