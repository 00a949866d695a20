//! candle's side of the comparison: SmolLM2 out of the GGUF that SafeVLM imports, or in f32 out of its model folder.
//!
//!     RAYON_NUM_THREADS=2 candle-peer prefill decode load --model FILE.gguf|FOLDER --dtype q4_1|q8_0|f32 --threads 2 --runs 5
//!
//! It understands `safevlm bench`'s arguments as far as these jobs need them, and prints the same JSON.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};
use candle_transformers::models::quantized_llama::ModelWeights;
use serde_json::json;

/// candle's version, which its crates do not tell.
const VERSION: &str = "candle 0.11.1";
const VOCABULARY: u32 = 49_152;

struct Arguments {
    jobs: Vec<String>,
    model: PathBuf,
    dtype: String,
    threads: usize,
    runs: usize,
    prompt_tokens: usize,
    new_tokens: usize,
}

impl Arguments {
    fn read() -> Result<Self> {
        let mut read = Self {
            jobs: vec![],
            model: PathBuf::new(),
            dtype: "f32".into(),
            threads: 1,
            runs: 5,
            prompt_tokens: 256,
            new_tokens: 64,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--model" => read.model = value()?.into(),
                "--dtype" => read.dtype = value()?,
                "--threads" => read.threads = value()?.parse()?,
                "--runs" => read.runs = value()?.parse()?,
                "--prompt-tokens" => read.prompt_tokens = value()?.parse()?,
                "--new-tokens" => read.new_tokens = value()?.parse()?,
                "--json" => {}
                "prefill" | "decode" | "load" => read.jobs.push(argument),
                _ => bail!("{argument}: only prefill, decode and load, and the options of `safevlm bench`"),
            }
        }
        Ok(read)
    }
}

/// The two implementations that candle has.
enum Model {
    Quantized(Box<ModelWeights>),
    Plain { model: Box<Llama>, config: Config, cache: Cache },
}

impl Model {
    fn load(path: &Path) -> Result<Self> {
        let device = Device::Cpu;
        if path.is_file() {
            let mut file = std::io::BufReader::new(std::fs::File::open(path)?);
            let content = gguf_file::Content::read(&mut file)?;
            return Ok(Self::Quantized(Box::new(ModelWeights::from_gguf(content, &mut file, &device)?)));
        }
        let config: LlamaConfig = serde_json::from_slice(&std::fs::read(path.join("config.json"))?)?;
        let config = config.into_config(false);
        let weights = [path.join("model.safetensors")];
        // SAFETY: nothing writes to an imported model folder while the comparison runs.
        let weights = unsafe { VarBuilder::from_mmaped_safetensors(&weights, DType::F32, &device)? };
        let model = Box::new(Llama::load(weights, &config)?);
        let cache = Cache::new(true, DType::F32, &config, &device)?;
        Ok(Self::Plain { model, config, cache })
    }

    /// Forgets the tokens so far.
    fn clear(&mut self) -> Result<()> {
        match self {
            Self::Quantized(model) => model.clear_kv_cache(),
            Self::Plain { config, cache, .. } => *cache = Cache::new(true, DType::F32, config, &Device::Cpu)?,
        }
        Ok(())
    }

    /// Logits of the last of `ids`, which stand at `position`; the most likely token.
    fn next(&mut self, ids: &[u32], position: usize) -> Result<u32> {
        let input = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let logits = match self {
            Self::Quantized(model) => model.forward(&input, position)?,
            Self::Plain { model, cache, .. } => model.forward(&input, position, cache)?,
        };
        Ok(logits.flatten_all()?.argmax(0)?.to_scalar()?)
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The times of `runs` runs after one that does not count.
fn measure(runs: usize, mut run: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    run()?;
    (0..runs).map(|_| run()).collect()
}

fn report(arguments: &Arguments, job: &str, mut times: Vec<f64>, tokens: Option<usize>) {
    times.sort_by(f64::total_cmp);
    let median = (times[times.len() / 2] + times[(times.len() - 1) / 2]) / 2.0;
    let line = json!({
        "name": job, "model": arguments.model.file_name().map(|name| name.to_string_lossy()), "device": "cpu",
        "threads": arguments.threads, "dtype": arguments.dtype, "runs": times.len(), "median_ms": median,
        "min_ms": times[0], "max_ms": times[times.len() - 1],
        "tokens_per_second": tokens.map(|tokens| tokens as f64 / median * 1000.0), "peak_rss_mb": peak_rss_mb(),
        "peer": "candle", "version": VERSION,
    });
    println!("{line}");
}

/// The most memory that this process has held, in megabytes (10^6 bytes); Linux tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    if arguments.runs == 0 {
        bail!("--runs 0 measures nothing");
    }
    if std::env::var("RAYON_NUM_THREADS").ok() != Some(arguments.threads.to_string()) {
        bail!("set RAYON_NUM_THREADS={}, as candle takes the number of threads from there only", arguments.threads);
    }
    if arguments.jobs.iter().any(|job| job == "load") {
        let times = measure(arguments.runs, || {
            let begin = Instant::now();
            Model::load(&arguments.model)?;
            Ok(millis(begin))
        })?;
        report(&arguments, "load", times, None);
    }
    if arguments.jobs.iter().all(|job| job == "load") {
        return Ok(());
    }
    let mut model = Model::load(&arguments.model)?;
    let count = arguments.prompt_tokens;
    let ids: Vec<u32> = (0..count as u32).map(|n| 100 + n.wrapping_mul(7919) % (VOCABULARY - 200)).collect();
    for job in arguments.jobs.iter().filter(|job| *job != "load") {
        let decode = job == "decode";
        let times = measure(arguments.runs, || {
            model.clear()?;
            let begin = Instant::now();
            let mut token = model.next(&ids, 0)?;
            if !decode {
                return Ok(millis(begin));
            }
            let begin = Instant::now();
            for at in 0..arguments.new_tokens {
                token = model.next(&[token], count + at)?;
            }
            Ok(millis(begin))
        })?;
        report(&arguments, job, times, Some(if decode { arguments.new_tokens } else { count }));
    }
    Ok(())
}
