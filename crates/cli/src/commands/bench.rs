//! `safevlm bench`

mod jobs;
mod measurement;
mod profile;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use safevlm::{ImageLimits, RgbImage};
use safevlm_kernels::Limits;

use crate::args::{ModelArgs, at_least_one};
use crate::error::CliError;

use jobs::Bench;

const EXAMPLES: &str = "\
Each measurement is the median of --runs runs after one that is not counted. GB/s and GFLOP/s stand beside what this
machine can do at best, which is measured first.

Examples:
  safevlm bench
  safevlm bench prefill decode --model smollm2-135m-instruct --threads 2
  safevlm bench guard --batch 8 --profile
  safevlm bench decode --prompt-tokens 1024 --new-tokens 32 --runs 9 --json";

/// Measure how long a model takes, stage by stage, and how much memory.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to measure; without any, all but train that the model can do.
    #[arg(value_name = "JOB")]
    jobs: Vec<Job>,
    /// A picture for guard and chat; without one, a drawn one of 640 x 480 pixels is taken.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Measured runs; one more before them is not counted.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Images or rows in one forward pass.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    batch: usize,
    /// Tokens that prefill and decode begin with.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    prompt_tokens: usize,
    /// Tokens that decode and chat generate.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    new_tokens: usize,
    /// Tell of each operation what share of the time it took, in one run more.
    #[arg(long)]
    profile: bool,
    /// Print one JSON object a measurement.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// A model folder to a model that is ready.
    Load,
    /// Images to verdicts.
    Guard,
    /// Tokens to the first token of an answer.
    Prefill,
    /// Each further token.
    Decode,
    /// An image and a question to an answer.
    Chat,
    /// A step of the joint loss.
    Train,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Job::Load => "load",
            Job::Guard => "guard",
            Job::Prefill => "prefill",
            Job::Decode => "decode",
            Job::Chat => "chat",
            Job::Train => "train",
        }
    }
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let limits = Limits::measure();
    let image = Arc::new(match &args.image {
        Some(path) => safevlm::load_image(path, &ImageLimits::default()).map_err(safevlm::Error::from)?,
        None => drawn(),
    });
    let bench = Bench::new(args, limits, image)?;
    if !args.json {
        bench.write_header().map_err(CliError::Output)?;
    }
    let all = [Job::Load, Job::Guard, Job::Prefill, Job::Decode, Job::Chat];
    let asked = !args.jobs.is_empty();
    let jobs = if asked { &args.jobs[..] } else { &all };
    for job in jobs.iter().filter(|job| asked || bench.can(**job)) {
        bench.run(*job)?;
    }
    Ok(())
}

/// A picture with edges and gradients.
fn drawn() -> RgbImage {
    RgbImage::from_fn(640, 480, |x, y| {
        let inside = (x as i64 - 320).pow(2) + (y as i64 - 240).pow(2) < 150 * 150;
        if inside { [200, 60, 30].into() } else { [(x / 3) as u8, (y / 2) as u8, 120].into() }
    })
}
