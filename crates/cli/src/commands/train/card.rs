//! `safevlm train card`: what a run has gained, as its README.md.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use safevlm::{DeviceSpec, FloatDtype, GenerationConfig, merge_adapter, registry};
use safevlm_data::{DataError, write_whole};
use safevlm_eval::{Bench, OfficialString, Report, ReportFormat, ReportOptions, hash_path};
use safevlm_train::{Recipe, recipe_of};

use crate::args::{ModelArgs, at_least_one};
use crate::commands::eval::predict::{Answering, answer};
use crate::error::CliError;
use crate::progress::Progress;
use crate::terminal::stderr_is_terminal;

/// Measure a run's model beside its base, and write both down as the run's README.md, a model card.
#[derive(Debug, Args)]
pub(crate) struct CardArgs {
    /// The run's output folder. The merged model goes into `model` in it.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Rows that training has not seen, with the fields of HoliSafe-Bench.
    #[arg(long, value_name = "FILE")]
    bench: PathBuf,
    /// Where the rows' pictures are, if not in the folder `images` beside the benchmark or in it.
    #[arg(long, value_name = "DIR|TAR")]
    images: Option<PathBuf>,
    /// Tokens of an answer at most.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    max_new_tokens: usize,
    /// Rows that are answered together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    batch: usize,
    /// auto, flex (the CPU), wgpu[:N], vulkan[:N], metal[:N] or cuda[:N].
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

/// Answers the benchmark with both models, in runs that go on where they were stopped, and writes the card.
pub(crate) fn write(args: &CardArgs) -> Result<PathBuf, CliError> {
    let recipe = recipe_of(&args.run)?;
    let base = registry::resolve(&recipe.base)?;
    let model = args.run.join("model");
    // One of this very adapter is kept, and of another refused: its figures would be another's.
    merge_adapter(&base, &args.run.join("adapter"), &model, stderr_is_terminal()).map_err(safevlm::Error::from)?;
    let runs = [(&base, "before.jsonl"), (&model, "after.jsonl")].map(|(dir, name)| (dir, args.run.join(name)));
    for (dir, out) in &runs {
        let bench = Bench { path: args.bench.clone(), images: args.images.clone(), shard: None, skip_bad: false };
        let model = ModelArgs {
            model: dir.display().to_string(),
            device: args.device,
            threshold: 0.5,
            dtype: FloatDtype::F32,
            adapter: None,
            check: false,
        };
        let generation = GenerationConfig { max_new_tokens: args.max_new_tokens, ..GenerationConfig::default() };
        answer(out, bench, &Answering { model: &model, generation, system: None, batch: args.batch })?;
    }
    let options =
        ReportOptions { title: "What it gained".to_owned(), examples: 0, threshold: None, images: args.images.clone() };
    let paths = runs.map(|(_, path)| path);
    let mut progress = Progress::counting("rows judged");
    let report = Report::of_files(&paths, &mut OfficialString, &options, &mut |rows| progress.advance_by(rows))?;
    drop(progress);
    let figures = report.render(ReportFormat::Markdown);
    let text = format!("{}{}", header(&recipe, &args.run, &args.bench)?, figures.replace("\n# ", "\n## "));
    // Beside the model, whose files are what was measured.
    let card = args.run.join("README.md");
    let refused = |source| DataError::Io { doing: "write", path: card.clone(), source };
    write_whole(&card, |out| out.write_all(text.as_bytes()).map_err(refused)).map_err(CliError::from)?;
    Ok(card)
}

/// What the model is and how it was made.
fn header(recipe: &Recipe, run: &Path, bench: &Path) -> Result<String, CliError> {
    let mut text = format!("# {}\n\n", recipe.name);
    let _ = write!(
        text,
        "Made of {} by `safevlm train`: a Visual Guard Module and answers that refuse what is unsafe (arXiv 2506.04704).\n\n\
         | | |\n| --- | --- |\n| base | {} |\n| adapter, SHA-256 | `{}` |\n| measured on | {}, SHA-256 `{}` |\n| steps | {} |\n| seed | {} |\n\n",
        recipe.base,
        recipe.base,
        hash_path(&run.join("adapter"))?,
        bench.file_name().unwrap_or_default().to_string_lossy(),
        hash_path(bench)?,
        recipe.phase.iter().map(|phase| phase.steps).sum::<usize>(),
        recipe.seed,
    );
    let recipe = serde_json::to_string_pretty(recipe).unwrap_or_default();
    let _ = write!(
        text,
        "Known failures are the figures below: whatever it answers or flags wrongly there it will elsewhere, and more where \
         pictures differ from those that it was trained on.\n\n\
         <details><summary>The whole recipe</summary>\n\n```json\n{recipe}\n```\n\n</details>\n\n"
    );
    Ok(text)
}
