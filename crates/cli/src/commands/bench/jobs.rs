//! The jobs, each a closure that is run and timed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use safevlm::{Conversation, GenerationConfig, RgbImage, SafeVlm};
use safevlm_core::profile::{self, Kind, Total, Totals, Work};
use safevlm_core::threads;
use safevlm_kernels::Limits;

use super::measurement::{Counts, Measurement, peak_rss_mb, spread, write_limits};
use super::profile::write_profile;
use super::{BenchArgs, Job};
use crate::error::CliError;

const QUESTION: &str = "What is in this picture, and what is it good for?";

/// A loaded model, and what is measured with it.
pub(super) struct Bench<'a> {
    args: &'a BenchArgs,
    limits: Limits,
    image: Arc<RgbImage>,
    model: SafeVlm,
}

impl<'a> Bench<'a> {
    pub(super) fn new(args: &'a BenchArgs, limits: Limits, image: Arc<RgbImage>) -> Result<Self, CliError> {
        Ok(Self { args, limits, image, model: args.model.load()? })
    }

    pub(super) fn write_header(&self) -> std::io::Result<()> {
        write_limits(&mut anstream::stdout(), &self.limits, threads::count())
    }

    /// Whether the model can do the job: only a Safe-VLM sees images and has a guard.
    pub(super) fn can(&self, job: Job) -> bool {
        !matches!(job, Job::Guard | Job::Chat) || self.model.labels().is_some()
    }

    pub(super) fn run(&self, job: Job) -> Result<(), CliError> {
        let (batch, new, prompt) = (self.args.batch, self.args.new_tokens, self.args.prompt_tokens);
        let counts = |tokens, images| Counts { tokens, images };
        match job {
            Job::Load => self.measure(job, Counts::default(), || timed(|| self.args.model.load())),
            Job::Guard => {
                let images = vec![self.image.as_ref(); batch];
                self.measure(job, counts(None, Some(batch)), || timed(|| Ok(self.model.guard(&images)?)))
            }
            Job::Prefill => self.measure(job, counts(Some(prompt * batch), None), || self.prefill()),
            Job::Decode => {
                // The first token is prefill's.
                let rows = self.rows(prompt, batch);
                self.measure(job, counts(Some(new * batch), None), || {
                    Ok(self.model.complete(&rows, &config(new + 1))?[0].timing.decode_ms)
                })
            }
            Job::Chat => {
                // Pictures that differ, for of equal ones the prompts would be computed once.
                let picture = |nth: usize| {
                    let mut picture = self.image.as_ref().clone();
                    picture.put_pixel(0, 0, [nth as u8, (nth >> 8) as u8, 0].into());
                    Arc::new(picture)
                };
                let conversations: Vec<_> =
                    (0..batch).map(|nth| Conversation::new().user(QUESTION, [picture(nth)])).collect();
                self.measure(job, counts(Some(new * batch), None), || {
                    timed(|| Ok(self.model.chat_batch(&conversations, &config(new))?))
                })
            }
            Job::Train => {
                let steps = self.args.runs as usize + 1;
                let mut times =
                    safevlm_train::time_steps(&self.args.model.model, &self.args.model.device, batch, steps)?
                        .into_iter();
                // Each of them is run by then.
                self.measure(job, counts(None, Some(batch)), || Ok(times.next().unwrap_or(f64::NAN)))
            }
        }
    }

    /// The time to a first token.
    fn prefill(&self) -> Result<f64, CliError> {
        let rows = self.rows(self.args.prompt_tokens, self.args.batch);
        timed(|| Ok(self.model.complete(&rows, &config(1))?))
    }

    /// `batch` rows of `tokens` ids that have no meaning.
    fn rows(&self, tokens: usize, batch: usize) -> Vec<Vec<u32>> {
        // Below the special tokens, which come last.
        let ids = self.model.vocabulary() as u64 * 9 / 10;
        let id = |row: usize, at: usize| ((row * tokens + at) as u64 * 7919 % ids.max(1)) as u32;
        (0..batch).map(|row| (0..tokens).map(|at| id(row, at)).collect()).collect()
    }

    /// One run that does not count, some that do, and one more that tells of stages and work.
    fn measure(
        &self,
        job: Job,
        counts: Counts,
        mut run: impl FnMut() -> Result<f64, CliError>,
    ) -> Result<(), CliError> {
        run()?;
        let times = (0..self.args.runs).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
        let peak_rss_mb = peak_rss_mb();
        let (mut stages, mut work, mut totals) = (BTreeMap::new(), Work::default(), None);
        if job != Job::Train {
            let counted = counted(&mut run)?;
            for ((kind, name), total) in &counted {
                if *kind == Kind::Stage {
                    stages.insert(*name, total.time.as_secs_f64() * 1000.0);
                }
            }
            work = all_work(&counted);
            totals = Some(counted);
        }
        if job == Job::Decode {
            // It is timed without the prefill that each of its runs begins with.
            let prefill = all_work(&self::counted(|| self.prefill())?);
            work = Work { flops: work.flops - prefill.flops, bytes: work.bytes - prefill.bytes };
        }
        let [median_ms, min_ms, max_ms] = spread(&times);
        let rate = |work: usize| work as f64 / (median_ms / 1000.0).max(1e-9);
        let billions = |work: f64| (work > 0.0).then_some(work / 1e6 / median_ms.max(1e-6));
        let measured = Measurement {
            name: job.name(),
            model: self.model.name().to_owned(),
            device: self.model.device().to_string(),
            threads: threads::count(),
            dtype: self.model.weights().to_owned(),
            batch: self.args.batch,
            runs: times.len(),
            median_ms,
            min_ms,
            max_ms,
            tokens_per_second: counts.tokens.map(rate),
            images_per_second: counts.images.map(rate),
            peak_rss_mb,
            gb_per_second: billions(work.bytes),
            gflops: billions(work.flops),
            limit_gb_per_second: self.limits.read_gb_per_second,
            limit_gflops: self.limits.gflops,
            stages,
        };
        let mut out = anstream::stdout();
        match self.args.json {
            true => measured.write_json(&mut out),
            false => measured.write(&mut out),
        }
        .and_then(|()| match totals.filter(|_| self.args.profile && !self.args.json) {
            Some(totals) => write_profile(&mut out, &totals, &self.limits),
            None => Ok(()),
        })
        .map_err(CliError::Output)
    }
}

/// Greedy and to the last token, whatever the model says.
fn config(tokens: usize) -> GenerationConfig {
    GenerationConfig { max_new_tokens: tokens, ignore_eos: true, ..GenerationConfig::default() }
}

/// What one run did.
fn counted(run: impl FnOnce() -> Result<f64, CliError>) -> Result<Totals, CliError> {
    profile::start();
    let done = run();
    let counted = profile::finish();
    done.map(|_| counted)
}

/// The work of all operations.
fn all_work(totals: &Totals) -> Work {
    let mut all = Work::default();
    for (_, Total { work, .. }) in totals.iter().filter(|((kind, _), _)| *kind == Kind::Operation) {
        all.flops += work.flops;
        all.bytes += work.bytes;
    }
    all
}

/// Milliseconds that `run` takes; what it gives is dropped after that.
fn timed<T>(run: impl FnOnce() -> Result<T, CliError>) -> Result<f64, CliError> {
    let begin = Instant::now();
    let _result = run()?;
    Ok(begin.elapsed().as_secs_f64() * 1000.0)
}
