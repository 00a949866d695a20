//! `safevlm train card`: what a run has gained, as its README.md.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use safevlm::{Cache, DeviceSpec, FloatDtype, GenerationConfig, merge_adapter, registry};
use safevlm_data::{BENCH_FILE, DataError, PictureSets, Split, compose_to_folder, write_whole};
use safevlm_eval::{Bench, OfficialString, Predictions, Report, ReportFormat, ReportOptions, calibrate, hash_path};
use safevlm_train::{CardRecipe, Recipe, recipe_of};

use crate::args::{ModelArgs, at_least_one};
use crate::commands::eval::predict::{Answering, answer};
use crate::error::CliError;
use crate::progress::Progress;
use crate::terminal::stderr_is_terminal;

/// Seed of the first scene that thresholds are chosen on, far behind those that are measured.
const VALIDATION_SEED: u64 = 1 << 32;
/// Rows that are answered together, where nothing is said.
const BATCH: usize = 8;

/// Measure a run's model beside its base, and write both down as the run's README.md, a model card.
#[derive(Debug, Args)]
pub(crate) struct CardArgs {
    /// The run's output folder. The merged model goes into `model` in it.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Rows that training has not seen, with the fields of HoliSafe-Bench; what the recipe's `card` names where it is not given.
    #[arg(long, value_name = "FILE")]
    bench: Option<PathBuf>,
    /// Rows of other pictures, on which thresholds and temperature are chosen.
    #[arg(long, value_name = "FILE", requires = "bench")]
    validation: Option<PathBuf>,
    /// Where the rows' pictures are, if not in the folder `images` beside the benchmark or in it.
    #[arg(long, value_name = "DIR|TAR", requires = "bench")]
    images: Option<PathBuf>,
    /// Tokens of an answer at most.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one, requires = "bench")]
    max_new_tokens: usize,
    /// Rows that are answered together.
    #[arg(long, value_name = "N", default_value_t = BATCH, value_parser = at_least_one)]
    batch: usize,
    /// auto, flex (the CPU), wgpu[:N], vulkan[:N], metal[:N] or cuda[:N].
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

/// What is measured, and how.
struct Work<'a> {
    recipe: &'a Recipe,
    run: &'a Path,
    asked: CardRecipe,
    batch: usize,
    device: DeviceSpec,
}

/// `safevlm train card`
pub(crate) fn write(args: &CardArgs) -> Result<PathBuf, CliError> {
    let recipe = recipe_of(&args.run)?;
    let CardArgs { run, bench, validation, images, max_new_tokens, batch, device } = args;
    let asked = match (bench, &recipe.card) {
        (None, Some(card)) => card.clone(),
        (None, None) => {
            let problem = "the run's recipe has no `card`: give the rows to measure on with `--bench`";
            return Err(CliError::Input(problem.to_owned()));
        }
        (Some(bench), _) => CardRecipe {
            bench: Some(bench.clone()),
            images: images.clone(),
            validation: validation.clone(),
            scenes: None,
            max_new_tokens: *max_new_tokens,
        },
    };
    Work { recipe: &recipe, run, asked, batch: *batch, device: *device }.write()
}

/// The card that `recipe` asks for at the end of its run; none where it does not.
pub(crate) fn at_the_end(recipe: &Recipe, device: DeviceSpec) -> Result<Option<PathBuf>, CliError> {
    let work =
        |asked: &CardRecipe| Work { recipe, run: &recipe.output, asked: asked.clone(), batch: BATCH, device }.write();
    recipe.card.as_ref().map(work).transpose()
}

impl Work<'_> {
    /// Answers the benchmark with both models, in runs that go on where they were stopped, and writes the card.
    fn write(&self) -> Result<PathBuf, CliError> {
        let base = registry::resolve(&self.recipe.base)?;
        let model = self.run.join("model");
        // One of this very adapter is kept, and of another refused: its figures would be another's.
        let adapter = self.run.join("adapter");
        merge_adapter(&base, &adapter, &model, stderr_is_terminal()).map_err(safevlm::Error::from)?;
        let CardRecipe { bench, validation, scenes, max_new_tokens: tokens, .. } = self.asked.clone();
        // A recipe has one or the other.
        let bench = bench.map_or_else(|| self.compose("bench", scenes.unwrap_or_default(), 0), Ok)?;
        let validation = match (validation, scenes) {
            (None, Some(scenes)) => Some(self.compose("validation", scenes, VALIDATION_SEED)?),
            (validation, _) => validation,
        };
        let name = Some(self.recipe.name.as_str());
        let after = self.answer(&model, name, &bench, "after.jsonl", tokens)?;
        let calibration = match validation {
            Some(rows) => {
                // The guard is asked only, which does not wait for an answer's end.
                let chosen_on = self.answer(&model, name, &rows, "validation.jsonl", 1)?;
                Some(calibrate(Predictions::open(&chosen_on)?, Predictions::open(&after)?)?)
            }
            None => None,
        };
        let paths = [self.answer(&base, None, &bench, "before.jsonl", tokens)?, after];
        let options = ReportOptions {
            title: "What it gained".to_owned(),
            examples: 0,
            threshold: None,
            images: self.asked.images.clone(),
        };
        let mut progress = Progress::counting("rows judged");
        let report = Report::of_files(&paths, &mut OfficialString, &options, &mut |rows| progress.advance_by(rows))?;
        drop(progress);
        let mut text = header(self.recipe, self.run, &bench)?;
        text.push_str(&report.render(ReportFormat::Markdown).replace("\n# ", "\n## "));
        if let Some(calibration) = calibration {
            let _ = write!(
                text,
                "\n## Thresholds and temperature\n\nChosen on a validation split, and judged on the rows above, which took no part:\n\n{}",
                calibration.to_markdown()
            );
        }
        // Beside the model, whose files are what was measured.
        let card = self.run.join("README.md");
        let refused = |source| DataError::Io { doing: "write", path: card.clone(), source };
        write_whole(&card, |out| out.write_all(text.as_bytes()).map_err(refused)).map_err(CliError::from)?;
        Ok(card)
    }

    /// Held-out scenes in the folder `name` of the run, which are kept, and the file of their rows.
    fn compose(&self, name: &str, scenes: u32, seed: u64) -> Result<PathBuf, CliError> {
        let (folder, progress) = (self.run.join(name), stderr_is_terminal());
        let rows = folder.join(BENCH_FILE);
        if !rows.is_file() {
            let cache = Cache::open(None).map_err(safevlm::Error::from)?;
            let sets = PictureSets::load(&cache, Split::HeldOut, progress)?;
            compose_to_folder(&sets, scenes as usize, seed, &folder, progress)?;
        }
        Ok(rows)
    }

    /// The predictions of the model folder `model`, called `name`, on `bench`, in the run's `file`.
    fn answer(
        &self,
        model: &Path,
        name: Option<&str>,
        bench: &Path,
        file: &str,
        max_new_tokens: usize,
    ) -> Result<PathBuf, CliError> {
        let out = self.run.join(file);
        let bench = Bench { path: bench.to_owned(), images: self.asked.images.clone(), shard: None, skip_bad: false };
        let model = ModelArgs {
            model: model.display().to_string(),
            device: self.device,
            threshold: 0.5,
            dtype: FloatDtype::F32,
            adapter: None,
            check: false,
        };
        let generation = GenerationConfig { max_new_tokens, ..GenerationConfig::default() };
        let answering = Answering { model: &model, name, generation, system: None, batch: self.batch };
        answer(&out, bench, &answering)?;
        Ok(out)
    }
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
