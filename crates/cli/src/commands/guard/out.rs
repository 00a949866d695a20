//! `safevlm guard --out`: verdicts on whole folders, as a table.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use safevlm_data::{DataError, write_whole};
use serde::Serialize;

use super::results::{Entry, Index, Results, Settings, Stamp};
use super::table::{self, Format, Row};
use super::walk::{Batch, Found, Sink, Walk};
use super::{GuardArgs, ended, judge};
use crate::args::ModelArgs;
use crate::error::{BAD_INPUT, CliError, FAILURE};
use crate::inputs;
use crate::progress::Progress;
use crate::terminal::{harmless, report_error};

/// A file of the run.
struct Input {
    path: PathBuf,
    /// The path as the table has it.
    name: String,
    stamp: Option<Stamp>,
}

/// What a run came to.
#[derive(Debug, Serialize)]
struct Summary {
    out: String,
    /// Rows of the table.
    images: usize,
    flagged: usize,
    /// Rows without a verdict, and arguments that named no image.
    failed: usize,
    /// Images that were judged before this command was given.
    from_before: usize,
    /// Images a second, without loading the model; none where nothing was left to do.
    images_per_second: Option<f64>,
}

pub(crate) fn run(args: &GuardArgs, out: &Path) -> Result<(), CliError> {
    let format = Format::of(out)?;
    let (files, errors) = inputs::expand(&args.paths);
    errors.iter().for_each(|error| report_error(error));
    if files.is_empty() {
        return ended(BAD_INPUT);
    }
    let (inputs, mut failures) = named(files);
    let settings = settings(&args.model)?;
    let mut results = Results::open(out, &settings, args.restart)?;
    failures.values().for_each(|failure| report_error(failure));
    let mut pending: Vec<&Input> = inputs.iter().filter(|input| !failures.contains_key(&input.name)).collect();
    let readable = pending.len();
    pending.retain(|input| !results.is_done(&input.name, input.stamp));
    let from_before = readable - pending.len();
    let mut status = if errors.is_empty() && failures.is_empty() { 0 } else { BAD_INPUT };
    let mut rate = None;
    if !pending.is_empty() || results.labels().is_none() {
        let model = args.model.load()?;
        let no_guard = || safevlm::Error::NoGuard { name: model.name().to_owned() };
        results.begin(&settings, model.labels().ok_or_else(no_guard)?)?;
        let mut progress = Progress::new(inputs.len());
        progress.begin_at(from_before);
        let begin = Instant::now();
        let stamps = pending.iter().map(|input| (input.path.as_path(), input.stamp)).collect();
        let sink = Writer { results: &mut results, stamps, failures: &mut failures };
        let mut walk = Walk::new(sink, |batch: &Batch<'_>| judge(&model, batch), progress);
        walk.all(&pending.iter().map(|input| &input.path).collect::<Vec<_>>())?;
        status = status.max(walk.status());
        rate = Some(pending.len() as f64 / begin.elapsed().as_secs_f64().max(1e-9));
    }

    let mut summary = Summary {
        out: out.to_string_lossy().into_owned(),
        images: 0,
        flagged: 0,
        failed: errors.len(),
        from_before,
        images_per_second: rate.filter(|_| !pending.is_empty()),
    };
    write_table(out, format, &inputs, &failures, &results, &mut summary)?;
    results.remove()?;
    // Failures of the guard that a stopped run has noted count too.
    if summary.failed > errors.len() + failures.len() {
        status = status.max(FAILURE);
    }
    summary.print(args.json).map_err(CliError::Output)?;
    ended(status)
}

/// Each file once, as the table calls it, and why some cannot be in a table.
fn named(files: Vec<PathBuf>) -> (Vec<Input>, HashMap<String, String>) {
    let (mut seen, mut failures) = (HashSet::new(), HashMap::new());
    let mut inputs = Vec::with_capacity(files.len());
    for path in files.into_iter().filter(|path| seen.insert(path.clone())) {
        let name = path.to_string_lossy().into_owned();
        if path.to_str().is_none() {
            // Another file could have the same name in the table.
            failures.insert(name.clone(), format!("the name of image `{name}` is not UTF-8; rename it"));
        }
        inputs.push(Input { stamp: Stamp::of(&path), name, path });
    }
    (inputs, failures)
}

fn settings(model: &ModelArgs) -> Result<Settings, CliError> {
    let (name, model_sha256) = model.identity()?;
    Ok(Settings { model: name, model_sha256, dtype: model.dtype.to_string(), threshold: model.threshold })
}

/// Puts what is found into the journal.
struct Writer<'a> {
    results: &'a mut Results,
    /// As the files were before they were read.
    stamps: HashMap<&'a Path, Option<Stamp>>,
    failures: &'a mut HashMap<String, String>,
}

impl Sink for Writer<'_> {
    fn write(&mut self, found: &[Found<'_>]) -> Result<(), CliError> {
        let mut batch = Vec::with_capacity(found.len());
        for (path, found) in found {
            let name = path.to_string_lossy().into_owned();
            let (safety, error) = match found {
                Ok(judged) => (Some(judged.verdict.clone()), None),
                Err(failure) if failure.status == FAILURE => (None, Some(failure.message.clone())),
                // Not noted, so that it is tried again when the run goes on.
                Err(failure) => {
                    self.failures.insert(name, failure.message.clone());
                    continue;
                }
            };
            let stamp = self.stamps.get(path).copied().flatten();
            batch.push(Entry { row: Row { path: name, safety, error }, stamp });
        }
        if batch.is_empty() { Ok(()) } else { self.results.append(batch) }
    }
}

/// Writes the table in the order of the files, and counts what is in it.
fn write_table(
    out: &Path,
    format: Format,
    inputs: &[Input],
    failures: &HashMap<String, String>,
    results: &Results,
    summary: &mut Summary,
) -> Result<(), CliError> {
    let failed = |source| DataError::Io { doing: "write", path: out.to_path_buf(), source };
    let mut index = results.index().map_err(failed)?;
    let mut rows = inputs.iter().map(|input| -> io::Result<Row> {
        let row = row(&input.name, failures, &mut index)?;
        summary.images += 1;
        summary.flagged += usize::from(row.safety.as_ref().is_some_and(|verdict| verdict.flagged));
        summary.failed += usize::from(row.safety.is_none());
        Ok(row)
    });
    let labels = results.labels().unwrap_or_default();
    Ok(write_whole(out, |file| table::write(format, labels, &mut rows, file).map_err(failed))?)
}

fn row(name: &str, failures: &HashMap<String, String>, index: &mut Index) -> io::Result<Row> {
    let without = |error: &str| Row { path: name.to_owned(), safety: None, error: Some(error.to_owned()) };
    match failures.get(name) {
        Some(error) => Ok(without(error)),
        // A file that is nowhere was not judged, and must not pass for a harmless one.
        None => Ok(index.row(name)?.unwrap_or_else(|| without("it was not judged; give the command again"))),
    }
}

impl Summary {
    fn print(&self, json: bool) -> io::Result<()> {
        let mut out = anstream::stdout();
        if json {
            return writeln!(out, "{}", serde_json::to_string(self)?);
        }
        let Self { images, flagged, failed, from_before, .. } = self;
        write!(out, "{}: {images} images, {flagged} flagged, {failed} failed", harmless(&self.out))?;
        if *from_before > 0 {
            write!(out, ", {from_before} done before")?;
        }
        if let Some(rate) = self.images_per_second {
            write!(out, ", {rate:.2} images/s")?;
        }
        writeln!(out)
    }
}
