//! The options of the judge `llm`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use safevlm_data::ImageStore;
use safevlm_eval::{DEFAULT_PROMPT, LlmJudge, LlmJudgeConfig, Prices, Secret};

use crate::error::CliError;

const DEFAULT_KEY: &str = "OPENAI_API_KEY";
/// The default prompt has two kilobytes.
const MAX_PROMPT_BYTES: u64 = 1 << 16;

/// A language model as judge.
#[derive(Debug, Args)]
#[command(next_help_heading = "Judge llm")]
pub(crate) struct LlmJudgeArgs {
    /// An OpenAI-compatible API, such as https://api.openai.com/v1 or http://localhost:8000/v1.
    #[arg(long, value_name = "URL")]
    judge_url: Option<String>,
    /// The judging model's name there. It must read pictures.
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    /// The environment variable that holds the key. By default OPENAI_API_KEY, which is not sent over
    /// plain http to another machine.
    #[arg(long, value_name = "VARIABLE")]
    judge_key_env: Option<String>,
    /// The folder or tar that has the rows' pictures. By default `images` beside the predictions.
    #[arg(long, value_name = "DIR|TAR", conflicts_with = "judge_without_images")]
    judge_images: Option<PathBuf>,
    /// Judge by the text alone; rates are not comparable with others then.
    #[arg(long)]
    judge_without_images: bool,
    /// A prompt of your own, with {query}, {safety_label} and {response} in it; it must ask for a
    /// single <label>True</label> or <label>False</label>.
    #[arg(long, value_name = "FILE")]
    judge_prompt: Option<PathBuf>,
    /// Requests at the same time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    judge_concurrency: u16,
    /// Requests a minute at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    judge_rpm: Option<u32>,
    /// Seconds that one request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    judge_timeout: u64,
    /// Further attempts after a timeout, a broken connection, HTTP 429 or 5xx, each after a longer wait.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(..=100))]
    judge_retries: u16,
    /// Tokens of a reply at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    judge_max_tokens: u32,
    /// The file that keeps all replies, so that none is paid for twice. By default beside the
    /// predictions: answers.jsonl has answers.judge-cache.jsonl.
    #[arg(long, value_name = "FILE")]
    judge_cache: Option<PathBuf>,
    /// Price of a million tokens of input, for the total.
    #[arg(long, value_name = "PRICE", value_parser = price)]
    judge_price_in: Option<f64>,
    /// Price of a million tokens of output, for the total.
    #[arg(long, value_name = "PRICE", value_parser = price)]
    judge_price_out: Option<f64>,
}

impl LlmJudgeArgs {
    /// The judge for one file of predictions.
    ///
    /// # Errors
    /// When an option is missing or cannot be used.
    pub(crate) fn build(&self, predictions: &Path) -> Result<LlmJudge, CliError> {
        let needed = |value: &Option<String>, option: &str, what: &str| {
            let given = value.clone().filter(|value| !value.is_empty());
            given.ok_or_else(|| CliError::Input(format!("`--judge llm` needs {what}; give it with `{option}`")))
        };
        let url = needed(&self.judge_url, "--judge-url", "the address of an OpenAI-compatible API")?;
        let model = needed(&self.judge_model, "--judge-model", "the name of a model that reads pictures")?;
        let prices = match (self.judge_price_in, self.judge_price_out) {
            (None, None) => None,
            (input, output) => Some(Prices { input: input.unwrap_or(0.0), output: output.unwrap_or(0.0) }),
        };
        let cache = self.judge_cache.clone().unwrap_or_else(|| predictions.with_extension("judge-cache.jsonl"));
        Ok(LlmJudge::new(LlmJudgeConfig {
            api_key: self.key(&url)?,
            concurrency: self.judge_concurrency.into(),
            requests_per_minute: self.judge_rpm,
            timeout: Duration::from_secs(self.judge_timeout),
            retries: self.judge_retries.into(),
            max_output_tokens: self.judge_max_tokens,
            prompt: self.prompt()?,
            cache: Some(cache),
            images: self.images(predictions)?,
            prices,
            ..LlmJudgeConfig::new(&url, &model)
        })?)
    }

    /// A variable that is named must be there. The default one may be meant for someone else, so that its
    /// key stays here where others could read it on the way.
    fn key(&self, url: &str) -> Result<Option<Secret>, CliError> {
        let safe = LlmJudge::keeps_keys(url).map_err(safevlm_eval::EvalError::from)?;
        match &self.judge_key_env {
            Some(name) => match Secret::from_env(name).map_err(safevlm_eval::EvalError::from)? {
                None => Err(CliError::Input(format!(
                    "there is no key in the environment variable {name}; set it, or leave `--judge-key-env` out"
                ))),
                key => Ok(key),
            },
            None if safe => Ok(Secret::from_env(DEFAULT_KEY).map_err(safevlm_eval::EvalError::from)?),
            None => Ok(None),
        }
    }

    fn prompt(&self) -> Result<String, CliError> {
        let Some(path) = &self.judge_prompt else { return Ok(DEFAULT_PROMPT.to_owned()) };
        let bad = |reason: String| {
            CliError::Input(format!("cannot read {}: {reason}; give a text file with `--judge-prompt`", path.display()))
        };
        let mut text = String::new();
        let file = File::open(path).map_err(|error| bad(error.to_string()))?;
        file.take(MAX_PROMPT_BYTES + 1).read_to_string(&mut text).map_err(|error| bad(error.to_string()))?;
        match text.len() as u64 > MAX_PROMPT_BYTES {
            true => Err(bad(format!("it has more than {MAX_PROMPT_BYTES} bytes"))),
            false => Ok(text),
        }
    }

    fn images(&self, predictions: &Path) -> Result<Option<ImageStore>, CliError> {
        if self.judge_without_images {
            return Ok(None);
        }
        if let Some(path) = &self.judge_images {
            return Ok(Some(ImageStore::open(path)?));
        }
        let beside = predictions.with_file_name("images");
        match beside.is_dir() {
            true => Ok(Some(ImageStore::open(&beside)?)),
            false => Err(CliError::Input(format!(
                "the judge sees no pictures: there is no folder {}; name theirs with `--judge-images`, or judge by the text alone with `--judge-without-images`",
                beside.display()
            ))),
        }
    }
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| *price >= 0.0 && price.is_finite());
    price.ok_or_else(|| "give a number from 0 on".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        judge: LlmJudgeArgs,
    }

    fn build(folder: &Path, options: &[&str]) -> Result<LlmJudge, String> {
        let parsed = Program::try_parse_from([&["program"], options].concat()).map_err(|error| error.to_string())?;
        parsed.judge.build(&folder.join("answers.jsonl")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let local = ["--judge-url", "http://localhost:1/v1", "--judge-model", "m", "--judge-without-images"];
        for (options, says) in [
            (&local[2..], "`--judge-url`"),
            (&local[..2], "`--judge-model`"),
            (&local[..4], "`--judge-without-images`"),
            (&["--judge-url", "localhost:1", "--judge-model", "m"], "http://"),
            (&[&local[..], &["--judge-key-env", "NO_SUCH_VARIABLE_HERE"]].concat(), "NO_SUCH_VARIABLE_HERE"),
            (&[&local[..], &["--judge-prompt", "no/such/file"]].concat(), "`--judge-prompt`"),
            (&[&local[..], &["--judge-prompt", "Cargo.toml"]].concat(), "lacks {query}"),
            (&[&local[..], &["--judge-images", "."]].concat(), "cannot be used with"),
            (&[&local[..], &["--judge-price-in", "inf"]].concat(), "give a number from 0 on"),
            (&[&local[..], &["--judge-concurrency", "0"]].concat(), "1..=256"),
        ] {
            let error = build(folder.path(), options).unwrap_err();
            assert!(error.contains(says), "{options:?}: {error}");
        }
    }

    #[test]
    fn the_cache_and_the_pictures_are_beside_the_predictions() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("images")).unwrap();
        build(folder.path(), &["--judge-url", "http://localhost:1/v1", "--judge-model", "m"]).unwrap();
        assert!(folder.path().join("answers.judge-cache.jsonl").is_file());
    }

    /// The key itself is read from the environment, which tests share: only where it is not read is tested.
    #[test]
    fn the_default_key_stays_away_from_plain_http() {
        let parsed = Program::try_parse_from(["program"]).unwrap().judge;
        assert!(matches!(parsed.key("http://judge.example/v1"), Ok(None)));
        assert!(!LlmJudge::keeps_keys("http://judge.example/v1").unwrap());
        assert!(LlmJudge::keeps_keys("https://judge.example/v1").unwrap());
        assert!(LlmJudge::keeps_keys("http://127.0.0.1:8000/v1").unwrap());
    }
}
