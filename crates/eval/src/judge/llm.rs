//! A language model as judge, asked over any OpenAI-compatible chat-completions endpoint with image input.

mod cache;
mod client;
mod endpoint;
mod error;
mod pacing;
mod picture;
mod prompt;
mod reply;
mod secret;
mod usage;
mod verdict;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{panic, thread};

use backon::{BackoffBuilder, ExponentialBuilder};
use safevlm_data::{DataError, ImageStore};

pub use error::LlmError;
pub use prompt::DEFAULT_PROMPT;
pub use secret::Secret;
pub use usage::{LlmUsage, Prices};

use self::cache::{Cache, Key};
use self::client::{Client, Failure};
use self::endpoint::Endpoint;
use self::pacing::{Pacer, Stop, locked};
use self::prompt::Prompt;
use self::reply::Reply;
use super::{Judge, Judgement};
use crate::error::EvalError;
use crate::prediction::Prediction;

/// The longest wait before a retry, whatever the endpoint asks for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How a language model is asked.
#[derive(Debug)]
pub struct LlmJudgeConfig {
    /// The API's base, such as `https://api.openai.com/v1`, or the address of its `/chat/completions`.
    pub url: String,
    /// The judging model's name there.
    pub model: String,
    /// Sent as bearer token; local servers need none.
    pub api_key: Option<Secret>,
    /// Requests at the same time.
    pub concurrency: usize,
    /// Requests a minute at most, retries included.
    pub requests_per_minute: Option<u32>,
    /// For one request, from the connection to the last byte.
    pub timeout: Duration,
    /// Further attempts where one fails in a way that may pass.
    pub retries: usize,
    /// Before the first retry; it doubles with each. Up to as much again is added by chance, so that
    /// requests that failed together do not come back together.
    pub backoff: Duration,
    /// Tokens of a reply at most. The temperature is always 0.
    pub max_output_tokens: u32,
    /// With places for `{query}`, `{safety_label}` and `{response}`.
    pub prompt: String,
    /// A file that keeps all replies, so that none is paid for twice.
    pub cache: Option<PathBuf>,
    /// The rows' pictures; without them the judge is told that it sees none.
    pub images: Option<ImageStore>,
    /// For the total of the costs.
    pub prices: Option<Prices>,
}

impl LlmJudgeConfig {
    /// `model` at `url`, otherwise as by default: without key, pictures and cache.
    pub fn new(url: &str, model: &str) -> Self {
        Self {
            url: url.to_string(),
            model: model.to_string(),
            api_key: None,
            concurrency: 8,
            requests_per_minute: None,
            timeout: Duration::from_secs(120),
            retries: 5,
            backoff: Duration::from_secs(1),
            max_output_tokens: 100,
            prompt: DEFAULT_PROMPT.to_string(),
            cache: None,
            images: None,
            prices: None,
        }
    }
}

/// The row that ended the work, by its place.
struct RowFailure {
    at: usize,
    error: EvalError,
}

/// The judge `llm`.
#[derive(Debug)]
pub struct LlmJudge {
    config: LlmJudgeConfig,
    prompt: Prompt,
    client: Client,
    pacer: Pacer,
    cache: Mutex<Cache>,
    usage: Mutex<LlmUsage>,
    /// Held while a picture is decoded: only one at a time may need the memory.
    decoding: Mutex<()>,
}

impl LlmJudge {
    /// Checks the settings and opens the cache. Nothing is asked yet.
    ///
    /// # Errors
    /// When the address or the prompt cannot be used, or the cache cannot be opened.
    pub fn new(mut config: LlmJudgeConfig) -> Result<Self, EvalError> {
        config.concurrency = config.concurrency.max(1);
        let endpoint = Endpoint::parse(&config.url)?;
        let prompt = Prompt::parse(&config.prompt)?;
        let client = Client::new(endpoint, config.api_key.take(), config.timeout, config.concurrency);
        let cache = Cache::open(config.cache.as_deref())?;
        let pacer = Pacer::new(config.requests_per_minute);
        let usage = Mutex::default();
        Ok(Self { config, prompt, client, pacer, cache: Mutex::new(cache), usage, decoding: Mutex::default() })
    }

    /// What it was asked so far, and what that cost; also after an error.
    pub fn usage(&self) -> LlmUsage {
        locked(&self.usage).with_cost(self.config.prices)
    }

    /// Whether a key at `url` is only sent where nobody else can read it: encrypted, or to this machine.
    ///
    /// # Errors
    /// When it is no address.
    pub fn keeps_keys(url: &str) -> Result<bool, LlmError> {
        Endpoint::parse(url).map(|endpoint| endpoint.encrypted || endpoint.local)
    }

    /// Judges rows until there are no more or someone stops.
    fn work(
        &self,
        rows: &[Prediction],
        next: &AtomicUsize,
        stop: &Stop,
    ) -> Result<Vec<(usize, Judgement)>, Box<RowFailure>> {
        let mut found = Vec::new();
        while !stop.is_stopped() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = rows.get(at) else { break };
            match self.judge_row(row, stop) {
                Ok(Some(judgement)) => found.push((at, judgement)),
                Ok(None) => break,
                Err(error) => {
                    stop.stop();
                    return Err(Box::new(RowFailure { at, error }));
                }
            }
        }
        Ok(found)
    }

    /// The judgement on one row; none where someone stopped.
    fn judge_row(&self, row: &Prediction, stop: &Stop) -> Result<Option<Judgement>, EvalError> {
        let (record, config) = (&row.record, &self.config);
        let prompt = self.prompt.fill(record, &row.prediction, config.images.is_some());
        let picture = match &config.images {
            Some(images) => Some(images.read(&record.image).map_err(|error| match error {
                DataError::NoImage { name, .. } => LlmError::NoPicture { id: record.id, name }.into(),
                error => EvalError::from(error),
            })?),
            None => None,
        };
        let key = Key::new(&config.model, &prompt, picture.as_deref(), config.max_output_tokens);
        let known = locked(&self.cache).get(&key);
        if let Some(verdict) = known {
            locked(&self.usage).cache_hits += 1;
            return Ok(Some(judgement(verdict)));
        }
        let shown = match picture {
            Some(bytes) => {
                let _one_at_a_time = locked(&self.decoding);
                let broken = |source| EvalError::Picture { id: record.id, name: record.image.clone(), source };
                Some(picture::data_url(&bytes).map_err(broken)?)
            }
            None => None,
        };
        let body = Client::body(&config.model, config.max_output_tokens, &prompt, shown.as_deref());
        let Some(reply) = self.ask(record.id, &body, stop)? else { return Ok(None) };
        self.count(&reply);
        locked(&self.cache).put(key, record.id, &config.model, &reply)?;
        Ok(Some(judgement(reply.verdict())))
    }

    /// Asks until there is a reply; none where someone stopped.
    fn ask(&self, id: u64, body: &[u8], stop: &Stop) -> Result<Option<Reply>, EvalError> {
        let waits = ExponentialBuilder::new().with_min_delay(self.config.backoff).with_max_delay(MAX_WAIT);
        let mut waits = waits.with_jitter().with_max_times(self.config.retries).build();
        let mut attempts = 0;
        loop {
            if self.pacer.wait(stop) {
                return Ok(None);
            }
            attempts += 1;
            locked(&self.usage).requests += 1;
            let (reason, asked) = match self.client.ask(body) {
                Ok(reply) => return Ok(Some(reply)),
                Err(Failure::Final(error)) => return Err(error.into()),
                Err(Failure::Again { reason, wait }) => (reason, wait),
            };
            let Some(backoff) = waits.next() else {
                let remedy = match self.config.cache {
                    Some(_) => "run again to go on, what was judged is in the cache",
                    None => "run again, with a cache so that what was judged is kept",
                };
                return Err(LlmError::GaveUp { id, attempts, reason, remedy }.into());
            };
            locked(&self.usage).retries += 1;
            let wait = backoff.max(asked.unwrap_or_default()).min(MAX_WAIT);
            if asked.is_some() {
                // The limit is the account's, not this thread's.
                self.pacer.hold(wait);
            }
            if stop.sleep(wait) {
                return Ok(None);
            }
        }
    }

    fn count(&self, reply: &Reply) {
        let mut usage = locked(&self.usage);
        usage.replies += 1;
        match reply.tokens {
            Some(tokens) => {
                usage.prompt_tokens += tokens.prompt;
                usage.completion_tokens += tokens.completion;
            }
            None => usage.replies_without_usage += 1,
        }
    }
}

fn judgement(verdict: Option<bool>) -> Judgement {
    match verdict {
        Some(true) => Judgement::Correct,
        Some(false) => Judgement::Wrong,
        None => Judgement::Unparsed,
    }
}

impl Judge for LlmJudge {
    fn name(&self) -> &str {
        "llm"
    }

    /// `llm:MODEL`, and what makes its judgements differ from those of others who ask that model.
    fn label(&self) -> String {
        let mut label = format!("llm:{}", self.config.model);
        if self.config.prompt != DEFAULT_PROMPT {
            label.push_str(" (own prompt)");
        }
        if self.config.images.is_none() {
            label.push_str(" (without images)");
        }
        label
    }

    /// So few that progress is seen, and so many that its workers seldom wait for the last one.
    fn batch(&self) -> usize {
        8 * self.config.concurrency
    }

    fn judge(&mut self, rows: &[Prediction]) -> Result<Vec<Judgement>, EvalError> {
        let (next, stop) = (AtomicUsize::new(0), Stop::default());
        let judge = &*self;
        let done: Vec<_> = thread::scope(|scope| {
            let threads = self.config.concurrency.min(rows.len());
            let work: Vec<_> = (0..threads).map(|_| scope.spawn(|| judge.work(rows, &next, &stop))).collect();
            work.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))).collect()
        });
        let (mut found, mut failed) = (Vec::with_capacity(rows.len()), Vec::new());
        for part in done {
            match part {
                Ok(part) => found.extend(part),
                Err(failure) => failed.push(failure),
            }
        }
        if let Some(first) = failed.into_iter().min_by_key(|failure| failure.at) {
            return Err(first.error);
        }
        found.sort_unstable_by_key(|(at, _)| *at);
        Ok(found.into_iter().map(|(_, judgement)| judgement).collect())
    }
}
