//! `safevlm eval`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use safevlm::{Cache, DeviceSpec, LoadOptions, SafeVlm, registry};
use safevlm_data::{PictureSets, Split};
use safevlm_eval::{Report, Settings, symbolic};

use crate::error::CliError;
use crate::terminal::stderr_is_terminal;

const EXAMPLES: &str = "\
Examples:
  safevlm eval --model safe-smol-base --model safe-smol
  safevlm eval --scenes 50 --json";

/// Measure models on composed scenes of held-out vendors: classes, refusals, attack success.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    /// A name from `safevlm models`, or a folder; may be given several times.
    #[arg(long, default_value = "safe-smol")]
    model: Vec<String>,
    /// Number of scenes; one question is asked about each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    scenes: u32,
    /// Seed of the first scene.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tokens of an answer; a refusal shows in its first words.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,
    /// auto, flex (the CPU), wgpu[:N], vulkan[:N], metal[:N] or cuda[:N].
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Also write every question with its answer to this file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Print one JSON object a model.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EvalArgs) -> Result<(), CliError> {
    let cache = Cache::open(None).map_err(safevlm::Error::from)?;
    let sets = PictureSets::load(&cache, Split::HeldOut, stderr_is_terminal())?;
    let settings = Settings {
        split: Split::HeldOut,
        scenes: args.scenes as usize,
        seed: args.seed,
        max_new_tokens: args.max_new_tokens as usize,
    };
    let mut answers = match &args.answers {
        Some(path) => Some(BufWriter::new(File::create(path).map_err(|e| {
            CliError::Input(format!("{}: cannot be written ({e}); choose another file for `--answers`", path.display()))
        })?)),
        None => None,
    };
    for name in &args.model {
        let options = LoadOptions { device: args.device, ..LoadOptions::default() };
        let model = SafeVlm::load(&registry::resolve(name)?, &options)?;
        let bar = progress(settings.scenes, model.name());
        let mut failed = None;
        let report = symbolic(&model, &sets, &settings, &mut |row, answer| {
            bar.inc(1);
            if let Some(file) = &mut answers {
                let line = serde_json::json!({
                    "model": name, "type": row.combination, "image": row.image, "label": row.image_safety_label,
                    "query": row.query, "answer": answer,
                });
                failed = failed.take().or(writeln!(file, "{line}").err());
            }
        });
        bar.finish_and_clear();
        if let Some(error) = failed {
            return Err(CliError::Output(error));
        }
        write(&report?, args.json).map_err(CliError::Output)?;
    }
    answers.map_or(Ok(()), |mut file| file.flush().map_err(CliError::Output))
}

fn write(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    if json {
        return writeln!(out, "{}", serde_json::to_string(report)?);
    }
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.1} %", 100.0 * v));
    writeln!(out, "{} on {} scenes of held-out vendors (seed {})", report.model, report.scenes, report.seed)?;
    writeln!(out, "  class accuracy (20)   {}", percent(report.accuracy))?;
    writeln!(out, "  macro F1              {}", percent(report.macro_f1))?;
    writeln!(out, "  safe/unsafe AUROC     {}", report.auroc.map_or("-".to_owned(), |v| format!("{v:.3}")))?;
    for (name, counts) in &report.types {
        let rate = percent(Some(counts.refused as f64 / counts.rows.max(1) as f64));
        writeln!(out, "  refused {name}           {rate} of {}", counts.rows)?;
    }
    writeln!(out, "  mASR                  {}", percent(report.masr))?;
    writeln!(out, "  thing named in SSS    {}", percent(report.named))
}

fn progress(scenes: usize, model: &str) -> ProgressBar {
    if !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(scenes as u64).with_message(model.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len} scenes, {eta} left") {
        bar.set_style(style);
    }
    bar
}
