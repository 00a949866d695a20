//! The figures of several runs side by side: one page for a browser, Markdown for a README, CSV for a spreadsheet.

mod columns;
mod csv_table;
mod examples;
mod html;
mod interval;
mod markdown;
mod pictures;
mod published;
mod runs;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use safevlm_data::{DataError, ImageStore, write_whole};
use serde::Serialize;

pub use examples::Example;
pub use published::{PUBLISHED, Published, PublishedModel};
pub use runs::ReportRun;

use published::PUBLISHED_ROWS;

use crate::compare::{Comparison, compare};
use crate::error::EvalError;
use crate::judge::Judge;
use crate::score::Outcome;

/// What a report is made of, besides the runs.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Stands above everything.
    pub title: String,
    /// Rows that are embedded as examples at most, of all runs together.
    pub examples: usize,
    /// Pictures are flagged from this probability on; none is what the rows say.
    pub threshold: Option<f32>,
    /// Folder or archive with the pictures; else they are looked for beside the predictions.
    pub images: Option<PathBuf>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self { title: "HoliSafe-Bench report".to_owned(), examples: 200, threshold: None, images: None }
    }
}

/// Several runs under one judge. Its JSON form is what the page embeds.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Stands above everything.
    pub title: String,
    /// The version of this program.
    pub safevlm_version: &'static str,
    /// The judge's name.
    pub judge: String,
    /// The runs in the order they were given, their names different.
    pub runs: Vec<ReportRun>,
    /// The other runs against the first, where they answered the same questions.
    pub comparisons: Vec<RunComparison>,
    /// Chosen rows, the runs in turn.
    pub examples: Vec<Example>,
    /// Thumbnails as data URLs; examples hold their indices.
    pub pictures: Vec<String>,
    /// Why examples have no thumbnails; empty where all have.
    pub pictures_note: String,
    /// The leaderboards of the paper.
    pub published: &'static [Published],
    /// The one whose judge is most like ours.
    pub published_like: &'static str,
    /// Rows that the paper measures.
    pub published_rows: usize,
}

/// A run against the first one.
#[derive(Debug, Clone, Serialize)]
pub struct RunComparison {
    /// Index of the run.
    pub run: usize,
    /// The differences: below zero where the run has fewer errors than the first.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// The form of a report, by the ending of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// One self-contained page.
    Html,
    /// Tables for a README.
    Markdown,
    /// One line a model.
    Csv,
}

impl ReportFormat {
    /// `.html`, `.htm`, `.md` or `.csv`.
    ///
    /// # Errors
    /// With any other ending.
    pub fn of(path: &Path) -> Result<Self, EvalError> {
        match path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(Self::Html),
            Some("md") => Ok(Self::Markdown),
            Some("csv") => Ok(Self::Csv),
            _ => Err(EvalError::ReportFormat { path: path.to_path_buf() }),
        }
    }
}

impl Report {
    /// Scores each file of predictions, and chooses examples. `on_rows` hears how many rows were judged.
    ///
    /// # Errors
    /// When predictions or pictures that were named cannot be read, or the judge cannot be asked.
    pub fn of_files(
        paths: &[PathBuf],
        judge: &mut dyn Judge,
        options: &ReportOptions,
        on_rows: &mut dyn FnMut(usize),
    ) -> Result<Self, EvalError> {
        let given = options.images.as_deref().map(ImageStore::open).transpose()?;
        let (mut runs, mut places) = (Vec::new(), Vec::new());
        let (mut outcomes, mut chosen) = (Vec::new(), Vec::new());
        for (at, path) in paths.iter().enumerate() {
            let (run, outcome, mut examples) =
                runs::measure(path, judge, options.threshold, options.examples, on_rows)?;
            examples.iter_mut().for_each(|example| example.run = at);
            places.push(if given.is_none() { pictures::find(path, run.info.as_ref())? } else { None });
            runs.push(run);
            outcomes.push(outcome);
            chosen.push(examples);
        }
        runs::tell_apart(&mut runs);
        let mut examples = examples::in_turn(chosen);
        examples.truncate(options.examples);
        let mut thumbnails = pictures::Thumbnails::default();
        for example in &mut examples {
            example.picture = thumbnails.add(given.as_ref().or(places[example.run].as_ref()), &example.image);
            example.shorten_image();
        }
        let mut report = Self::new(options.title.clone(), &judge.label(), runs);
        report.comparisons = comparisons(&outcomes);
        report.pictures_note = thumbnails.note(&examples);
        report.pictures = thumbnails.into_urls();
        report.examples = examples;
        Ok(report)
    }

    /// A report without examples.
    pub fn new(title: String, judge: &str, runs: Vec<ReportRun>) -> Self {
        Self {
            title,
            safevlm_version: env!("CARGO_PKG_VERSION"),
            judge: judge.to_owned(),
            runs,
            comparisons: Vec::new(),
            examples: Vec::new(),
            pictures: Vec::new(),
            pictures_note: String::new(),
            published: &PUBLISHED,
            published_like: published::like(judge),
            published_rows: PUBLISHED_ROWS,
        }
    }

    /// The whole text of one form.
    pub fn render(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Html => html::page(self),
            ReportFormat::Markdown => markdown::text(self),
            ReportFormat::Csv => csv_table::text(self),
        }
    }

    /// Writes the file, whole or not at all, and gives its size in bytes.
    ///
    /// # Errors
    /// With an ending that says no form, or when the disk refuses.
    pub fn write(&self, path: &Path) -> Result<usize, EvalError> {
        let text = self.render(ReportFormat::of(path)?);
        let refused = |source| DataError::Io { doing: "write", path: path.to_path_buf(), source };
        write_whole(path, |out| out.write_all(text.as_bytes()).map_err(refused))?;
        Ok(text.len())
    }

    /// Whom `published_like` names.
    fn compared(&self) -> &'static Published {
        PUBLISHED.iter().find(|published| published.judge == self.published_like).unwrap_or(&PUBLISHED[0])
    }
}

/// Every run but the first against it. Runs of another benchmark have other rows, or rows of other combinations.
fn comparisons(outcomes: &[Vec<Outcome>]) -> Vec<RunComparison> {
    let Some((first, others)) = outcomes.split_first() else { return Vec::new() };
    let compared = others.iter().enumerate().filter_map(|(at, other)| Some((at + 1, compare(first, other).ok()?)));
    let same = compared.filter(|(_, comparison)| comparison.rows > 0);
    same.map(|(run, comparison)| RunComparison { run, comparison }).collect()
}
