//! A model answers a benchmark, in a run that survives a kill at any moment.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use safevlm::{Answer, Conversation, GenerationConfig, ImageLimits, SafeVlm, decode_image};
use safevlm_data::{BenchRow, DataError, Journal};

use crate::error::EvalError;
use crate::hash;
use crate::plan::{Batches, Bench};
use crate::prediction::Prediction;
use crate::run::{RunInfo, Settings, run_info_path};

/// The run's file is brought up to date this often.
const NOTE_EVERY: Duration = Duration::from_secs(20);

/// What happens while a benchmark is answered.
#[derive(Debug)]
pub enum Step<'a> {
    /// So many rows were written.
    Rows(usize),
    /// A row was left out.
    LeftOut(&'a EvalError),
}

/// A file of predictions that is being written, or goes on being written.
///
/// Each batch is on the disk before the next is begun. A run that was killed goes on when it is opened with the
/// same settings: the batch in which it was killed is computed again as a whole, and what is missing
/// of it is written, so that the file ends up the same as without the kill.
#[derive(Debug)]
pub struct PredictRun {
    bench: Bench,
    out: PathBuf,
    journal: Journal,
    done: HashSet<u64>,
    info: RunInfo,
    noted: Instant,
}

impl PredictRun {
    /// Begins the file `out` and its [`RunInfo`] beside it, or goes on with both.
    ///
    /// # Errors
    /// When `out` was made with other settings or by something else, another process writes it, or it cannot be
    /// read or written.
    pub fn open(out: &Path, bench: Bench, settings: Settings, batch: usize) -> Result<Self, EvalError> {
        let settings_sha256 = hash::of_json(&settings);
        let noted = RunInfo::read(&run_info_path(out))?;
        let begun = out.metadata().is_ok_and(|file| file.len() > 0);
        let mut info = match noted {
            Some(noted) => {
                noted.refuse_others(out, &settings, bench.shard)?;
                noted
            }
            None if begun => return Err(EvalError::NotOurs { path: out.to_path_buf() }),
            None => RunInfo {
                settings,
                settings_sha256,
                shard: bench.shard,
                started_unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
                ..RunInfo::default()
            },
        };
        info.batch = batch;
        info.threads = std::thread::available_parallelism().map_or(1, usize::from);
        info.safevlm_version = env!("CARGO_PKG_VERSION").to_owned();
        // Before the first row, so that no row is without its settings.
        info.write(&run_info_path(out))?;
        let mut done = HashSet::new();
        let journal = Journal::open(out, &mut |row, line| {
            let bad = |reason: String| DataError::BadRecord { path: out.to_path_buf(), row, reason };
            let prediction: Prediction = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
            match done.insert(prediction.record.id) {
                true => Ok(()),
                false => {
                    Err(bad(format!("`id` {} occurs twice; begin anew with another `--out`", prediction.record.id)))
                }
            }
        })?;
        info.rows = done.len();
        Ok(Self { bench, out: out.to_path_buf(), journal, done, info, noted: Instant::now() })
    }

    /// Rows that are answered already.
    pub fn done(&self) -> usize {
        self.done.len()
    }

    /// What is written beside the predictions.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Answers what is missing. Under [`Bench::skip_bad`] rows whose pictures cannot be used are left out.
    ///
    /// # Errors
    /// When a picture or the model fails, or the disk refuses. What was written stays.
    pub fn answer(
        &mut self,
        model: &SafeVlm,
        generation: &GenerationConfig,
        on_step: &mut dyn FnMut(Step<'_>),
    ) -> Result<(), EvalError> {
        self.info.device = model.device().to_string();
        let before = self.info.timings;
        let begin = Instant::now();
        self.info.timings.starts = before.starts + 1;
        self.info.timings.load_seconds = before.load_seconds + model.load_ms() / 1000.0;
        let mut batches = self.bench.batches(self.info.batch)?;
        while let Some(batch) = batches.next() {
            let batch = batch?;
            if batch.iter().all(|row| self.done.contains(&row.record.id)) {
                continue;
            }
            let (batch, conversations) = self.usable(&mut batches, batch, on_step)?;
            // The whole batch is computed again, since an answer may depend on its neighbours by a rounding.
            if batch.iter().all(|row| self.done.contains(&row.record.id)) {
                continue;
            }
            let answers = model.chat_batch(&conversations, generation)?;
            let rows = self.missing(batch, answers);
            self.journal.append(&rows)?;
            self.done.extend(rows.iter().map(|row| row.record.id));
            self.info.rows = self.done.len();
            self.info.timings.seconds = before.seconds + begin.elapsed().as_secs_f64();
            if self.noted.elapsed() > NOTE_EVERY {
                self.note()?;
            }
            on_step(Step::Rows(rows.len()));
        }
        self.info.left_out = batches.skipped();
        self.info.finished = true;
        self.note()
    }

    fn note(&mut self) -> Result<(), EvalError> {
        let timings = &mut self.info.timings;
        timings.rows_per_second = self.info.rows as f64 / timings.seconds.max(1e-9);
        self.noted = Instant::now();
        Ok(self.info.write(&run_info_path(&self.out))?)
    }

    /// The rows of a batch whose pictures can be used, and what is asked about them.
    fn usable(
        &self,
        batches: &mut Batches,
        batch: Vec<BenchRow>,
        on_step: &mut dyn FnMut(Step<'_>),
    ) -> Result<(Vec<BenchRow>, Vec<Conversation>), EvalError> {
        let (mut rows, mut conversations) = (Vec::new(), Vec::new());
        for row in batch {
            match self.conversation(batches, &row) {
                Ok(conversation) => {
                    conversations.push(conversation);
                    rows.push(row);
                }
                Err(error) if self.bench.skip_bad && error.is_picture() => {
                    batches.skip();
                    on_step(Step::LeftOut(&error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((rows, conversations))
    }

    /// The rows with their answers, without those that are in the file.
    fn missing(&mut self, batch: Vec<BenchRow>, answers: Vec<Answer>) -> Vec<Prediction> {
        let mut rows = Vec::with_capacity(batch.len());
        for (row, answer) in batch.into_iter().zip(answers) {
            if self.done.contains(&row.record.id) {
                continue;
            }
            self.info.timings.generated_tokens += answer.generated_tokens.len() as u64;
            rows.push(Prediction {
                record: row.record,
                prediction: answer.text,
                finish_reason: Some(answer.finish_reason),
                safety: answer.safety,
            });
        }
        rows
    }

    fn conversation(&self, batches: &Batches, row: &BenchRow) -> Result<Conversation, EvalError> {
        let bytes = batches.image(row)?;
        let image = decode_image(&bytes, &ImageLimits::default()).map_err(|source| EvalError::Picture {
            id: row.record.id,
            name: row.record.image.clone(),
            source,
        })?;
        let beginning = match &self.info.settings.system {
            Some(system) => Conversation::new().system(system),
            None => Conversation::new(),
        };
        Ok(beginning.user(row.record.query.clone(), [Arc::new(image)]))
    }
}
