//! `safevlm bench`

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use safevlm::{Conversation, DeviceSpec, GenerationConfig, ImageLimits, LoadOptions, RgbImage, SafeVlm, registry};
use serde::Serialize;

use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  safevlm bench
  safevlm bench --runs 9 --json";

/// Measure loading, preprocessing, prefill, decoding and memory, for the guard alone and for a chat.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// A name from `safevlm models`, or a folder.
    #[arg(long, default_value = "safe-smol")]
    model: String,
    /// A picture; without one, a drawn one of 640 x 480 pixels is taken.
    #[arg(long)]
    image: Option<PathBuf>,
    /// Measured runs; one more before them is not counted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Tokens to generate in each chat.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,
    /// auto, flex (the CPU), wgpu[:N], vulkan[:N], metal[:N] or cuda[:N].
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Print one JSON object a measurement.
    #[arg(long)]
    json: bool,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Measurement {
    name: &'static str,
    model: String,
    device: String,
    runs: usize,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    /// Work for each second, where it is counted in tokens.
    tokens_per_second: Option<f64>,
    /// Work for each second, where it is counted in images.
    images_per_second: Option<f64>,
    /// Most memory the process has held so far; none where the system does not tell.
    peak_rss_mb: Option<f64>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let dir = registry::resolve(&args.model)?;
    let options = LoadOptions { device: args.device, ..LoadOptions::default() };
    let runs = args.runs as usize;
    let image = Arc::new(match &args.image {
        Some(path) => safevlm::load_image(path, &ImageLimits::default()).map_err(safevlm::Error::from)?,
        None => drawn(),
    });
    let model = SafeVlm::load(&dir, &options)?;
    let bench = Bench { model: &model, json: args.json };
    bench.report("load", &[model.load_ms()], None, None)?;

    let mut guard = Vec::new();
    for _ in 0..=runs {
        let begin = Instant::now();
        model.guard(&[&image])?;
        guard.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    bench.report("guard", &guard[1..], None, Some(1))?;

    let conversation = Conversation::new().user("What is in this picture, and what is it good for?", [image]);
    // A stop at the first end of turn would make the runs of different models incomparable, but the
    // number of tokens is known all the same.
    let config = GenerationConfig { max_new_tokens: args.max_new_tokens as usize, ..GenerationConfig::default() };
    let (mut preprocess, mut prefill, mut decode) = (vec![], vec![], vec![]);
    let (mut prompt, mut generated) = (0, 0);
    for _ in 0..=runs {
        let answer = model.chat(&conversation, &config, &mut |_| {})?;
        preprocess.push(answer.timing.preprocess_ms);
        prefill.push(answer.timing.prefill_ms);
        decode.push(answer.timing.decode_ms);
        (prompt, generated) = (answer.prompt_tokens.len(), answer.generated_tokens.len());
    }
    bench.report("chat preprocess", &preprocess[1..], None, Some(1))?;
    bench.report("chat prefill", &prefill[1..], Some(prompt), None)?;
    bench.report("chat decode", &decode[1..], Some(generated), None)
}

struct Bench<'a> {
    model: &'a SafeVlm,
    json: bool,
}

impl Bench<'_> {
    fn report(
        &self,
        name: &'static str,
        times: &[f64],
        tokens: Option<usize>,
        images: Option<usize>,
    ) -> Result<(), CliError> {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median_ms = sorted[sorted.len() / 2];
        let rate = |work: usize| work as f64 / (median_ms / 1000.0).max(1e-9);
        let measured = Measurement {
            name,
            model: self.model.name().to_owned(),
            device: self.model.device().to_string(),
            runs: sorted.len(),
            median_ms,
            min_ms: sorted[0],
            max_ms: sorted[sorted.len() - 1],
            tokens_per_second: tokens.map(rate),
            images_per_second: images.map(rate),
            peak_rss_mb: peak_rss_mb(),
        };
        self.write(&measured).map_err(CliError::Output)
    }

    fn write(&self, m: &Measurement) -> std::io::Result<()> {
        let mut out = anstream::stdout();
        if self.json {
            return writeln!(out, "{}", serde_json::to_string(m)?);
        }
        let tokens = m.tokens_per_second.map_or(String::new(), |r| format!("{r:8.1} tokens/s"));
        let images = m.images_per_second.map_or(String::new(), |r| format!("{r:8.1} images/s"));
        let memory = m.peak_rss_mb.map_or(String::new(), |r| format!("peak {r:.0} MB"));
        let spread = format!("({:.1} to {:.1} ms, {} runs)", m.min_ms, m.max_ms, m.runs);
        writeln!(out, "{:16} {:9.1} ms {:34} {:18} {memory}", m.name, m.median_ms, spread, tokens + &images)
    }
}

/// The most memory that this process has held, in megabytes (10^6 bytes); Linux tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// A picture with edges and gradients.
fn drawn() -> RgbImage {
    RgbImage::from_fn(640, 480, |x, y| {
        let inside = (x as i64 - 320).pow(2) + (y as i64 - 240).pow(2) < 150 * 150;
        if inside { [200, 60, 30].into() } else { [(x / 3) as u8, (y / 2) as u8, 120].into() }
    })
}
