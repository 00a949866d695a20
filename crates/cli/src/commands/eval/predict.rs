//! `safevlm eval predict`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use safevlm::GenerationConfig;
use safevlm_eval::{Bench, PredictRun, RunInfo, Settings, Shard, Step, hash_path};

use crate::args::{GenerationArgs, ModelArgs, at_least_one};
use crate::error::CliError;
use crate::progress::Progress;
use crate::terminal::report_warning;

const EXAMPLES: &str = "\
A run that was stopped, however hard, goes on when the command is given again. How it was made is written beside
the predictions: a.jsonl has a.run.json.

Examples:
  safevlm eval predict --bench bench/holisafe_bench.json --out safe-smol.jsonl
  safevlm eval predict --model DIR --bench test.parquet --max-new-tokens 512 --batch 16 --out answers.jsonl
  safevlm eval predict --bench bench.json --shard $((SLURM_ARRAY_TASK_ID + 1))/8 --out part-$SLURM_ARRAY_TASK_ID.jsonl";

/// Let a model answer every question of a benchmark.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PredictArgs {
    /// The benchmark: HoliSafe-Bench's rows as JSON, JSON lines or Parquet.
    #[arg(long, value_name = "FILE")]
    bench: PathBuf,
    /// Where the rows' pictures are, if not in the folder `images` beside the benchmark or in it.
    #[arg(long, value_name = "DIR|TAR")]
    images: Option<PathBuf>,
    /// The file to write, JSON lines in the official format.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Answer part I of N only; the parts of several machines are joined by `safevlm eval merge`.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Rows that are answered together; more is faster on a GPU and needs more memory.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    batch: usize,
    /// Leave out rows that break the format or whose pictures cannot be used, and list them, instead of ending.
    #[arg(long)]
    skip_bad: bool,
    /// Instructions that come before each question.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Print how the run went as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: &PredictArgs) -> Result<(), CliError> {
    args.model.check_device()?;
    let bench =
        Bench { path: args.bench.clone(), images: args.images.clone(), shard: args.shard, skip_bad: args.skip_bad };
    let answering = Answering {
        model: &args.model,
        name: None,
        generation: args.generation.config(),
        system: args.system.clone(),
        batch: args.batch,
    };
    let (info, done) = answer(&args.out, bench, &answering)?;
    let mut out = anstream::stdout();
    let written = match args.json {
        true => serde_json::to_string(&info).map_err(Into::into).and_then(|json| writeln!(out, "{json}")),
        false => {
            let left_out = match info.left_out {
                0 => String::new(),
                n => format!(", {n} bad ones left out"),
            };
            let went_on = if done > 0 { format!(", {done} of them from before") } else { String::new() };
            writeln!(
                out,
                "{}: {} rows{went_on}{left_out}, {:.2} rows/s on {}",
                args.out.display(),
                info.rows,
                info.timings.rows_per_second,
                info.device,
            )
        }
    };
    written.map_err(CliError::Output)
}

/// Who answers, and how.
pub(crate) struct Answering<'a> {
    pub(crate) model: &'a ModelArgs,
    /// What reports call the model, where it is not the name of its folder.
    pub(crate) name: Option<&'a str>,
    pub(crate) generation: GenerationConfig,
    pub(crate) system: Option<String>,
    pub(crate) batch: usize,
}

/// Answers what is left of a benchmark into `out`, and says how it went and how many rows were there before.
pub(crate) fn answer(out: &Path, bench: Bench, answering: &Answering<'_>) -> Result<(RunInfo, usize), CliError> {
    let survey = bench.survey()?;
    for problem in &survey.skipped {
        report_warning(problem);
    }
    let settings = settings(&bench.path, answering)?;
    let mut run = PredictRun::open(out, bench, settings, answering.batch)?;
    let done = run.done();
    if done < survey.rows {
        let model = answering.model.load()?;
        let mut progress = Progress::over(survey.rows, "rows");
        progress.begin_at(done);
        run.answer(&model, &answering.generation, &mut |step| match step {
            Step::Rows(rows) => progress.advance_by(rows),
            Step::LeftOut(error) => progress.hidden(|| report_warning(error)),
        })?;
    }
    Ok((run.info().clone(), done))
}

/// What decides the answers.
fn settings(bench: &Path, answering: &Answering<'_>) -> Result<Settings, CliError> {
    let (folder, model_sha256) = answering.model.identity()?;
    let generation = answering.generation.clone();
    Ok(Settings {
        model: answering.name.map_or(folder, str::to_owned),
        model_sha256,
        bench: bench.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        bench_sha256: hash_path(bench)?,
        dtype: answering.model.dtype.to_string(),
        max_new_tokens: generation.max_new_tokens,
        temperature: generation.temperature,
        top_k: generation.top_k,
        top_p: generation.top_p,
        repetition_penalty: generation.repetition_penalty,
        seed: generation.seed,
        stop: generation.stop,
        system: answering.system.clone(),
        threshold: answering.model.threshold,
    })
}
