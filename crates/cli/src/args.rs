//! The commands and the options that several of them share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use safevlm::{DeviceSpec, FloatDtype, GenerationConfig, LoadOptions, SafeVlm, WeightOptions, registry};
use safevlm_eval::hash_path;

use crate::commands::{bench, chat, completions, data, eval, guard, import, inspect, merge, models, train};
use crate::error::CliError;

/// Ask about images, and learn from the same forward pass whether they are harmful.
#[derive(Debug, Parser)]
#[command(name = "safevlm", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Threads that compute on the CPU; without it, as many as there are processors.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  safevlm models
  safevlm import safe-smol
  safevlm chat --image photo.jpg --prompt \"What is this?\"
  safevlm guard photos/

Exit status: 0, 1 for a failure while running, 2 for bad input or usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Models(models::ModelsArgs),
    Chat(chat::ChatArgs),
    Guard(guard::GuardArgs),
    Import(import::ImportArgs),
    Inspect(inspect::InspectArgs),
    Train(train::TrainArgs),
    Merge(merge::MergeArgs),
    Eval(eval::EvalArgs),
    Bench(bench::BenchArgs),
    Data(data::DataArgs),
    Completions(completions::CompletionsArgs),
}

/// Which model, and where it runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A name from `safevlm models`, or a folder with a config.json.
    #[arg(long, value_name = "NAME|DIR", default_value = "safe-smol")]
    pub(crate) model: String,
    /// auto, flex (the CPU), wgpu[:N], vulkan[:N], metal[:N] or cuda[:N].
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceSpec,
    /// Flag an image from this probability of being unsafe on, 0 to 1.
    #[arg(long, value_name = "P", default_value_t = 0.5, value_parser = probability)]
    pub(crate) threshold: f32,
    /// The type that is computed in: f32, f16 or bf16. Halves are for GPUs: the CPU is slower with them.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub(crate) dtype: FloatDtype,
    /// A folder with a LoRA adapter in PEFT's format, merged into the weights as they are read.
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// Read all weights first, and name those that hold NaN or infinities.
    #[arg(long)]
    pub(crate) check: bool,
}

impl ModelArgs {
    /// Refuses a device that cannot be used, before slower things are tried. `auto` always finds one.
    pub(crate) fn check_device(&self) -> Result<(), CliError> {
        if self.device != DeviceSpec::Auto {
            self.device.open().map_err(safevlm::Error::from)?;
        }
        Ok(())
    }

    /// The model's name, and the SHA-256 of its files and of its adapter's.
    pub(crate) fn identity(&self) -> Result<(String, String), CliError> {
        let dir = registry::resolve(&self.model)?;
        let mut sha256 = hash_path(&dir)?;
        if let Some(adapter) = &self.adapter {
            sha256 = format!("{sha256}+{}", hash_path(adapter)?);
        }
        Ok((dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned(), sha256))
    }

    /// Finds and loads the model.
    pub(crate) fn load(&self) -> Result<SafeVlm, CliError> {
        let dir = registry::resolve(&self.model)?;
        let weights = WeightOptions {
            dtype: self.dtype,
            adapter: self.adapter.clone(),
            check: self.check,
            ..WeightOptions::default()
        };
        let options = LoadOptions { device: self.device, threshold: self.threshold, weights, ..LoadOptions::default() };
        Ok(SafeVlm::load(&dir, &options)?)
    }
}

/// How an answer is generated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Generation")]
pub(crate) struct GenerationArgs {
    /// Tokens at most.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    max_new_tokens: usize,
    /// 0 always takes the most likely token; higher is more varied.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = not_negative)]
    temperature: f64,
    /// Draw from the K most likely tokens only.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    top_k: Option<usize>,
    /// Draw from the most likely tokens that together reach this probability.
    #[arg(long, value_name = "P", value_parser = positive_probability)]
    top_p: Option<f64>,
    /// Above 1 makes tokens that already occurred less likely.
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = positive)]
    repetition_penalty: f64,
    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// End the answer before this text; may be given several times.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
}

impl GenerationArgs {
    pub(crate) fn config(&self) -> GenerationConfig {
        GenerationConfig {
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            stop: self.stop.clone(),
            ignore_eos: false,
        }
    }
}

/// A number that `allowed` accepts; `what` says which those are.
fn number(text: &str, what: &str, allowed: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.parse().ok().filter(|value| allowed(*value)).ok_or_else(|| format!("give {what}"))
}

pub(crate) fn probability(text: &str) -> Result<f32, String> {
    number(text, "a number from 0 to 1", |p| (0.0..=1.0).contains(&p)).map(|p| p as f32)
}

fn positive_probability(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 and up to 1", |p| p > 0.0 && p <= 1.0)
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 on", |t| t >= 0.0 && t.is_finite())
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, "a number above 0", |r| r > 0.0 && r.is_finite())
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "give a whole number from 1 on".to_owned())
}

pub(crate) fn at_least_two(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 1).ok_or_else(|| "give a whole number from 2 on".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for text in ["-0.1", "1.1", "NaN", "inf", "x", ""] {
            assert!(probability(text).is_err(), "{text}");
            assert!(positive_probability(text).is_err(), "{text}");
        }
        assert!(positive_probability("0").is_err());
        assert_eq!(probability("0"), Ok(0.0));
        assert!(not_negative("inf").is_err() && not_negative("-1").is_err());
        assert!(positive("0").is_err());
        assert!(at_least_one("0").is_err() && at_least_one("-1").is_err());
    }
}
