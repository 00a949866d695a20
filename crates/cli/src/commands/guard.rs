//! `safevlm guard`

use std::path::{Path, PathBuf};

use clap::Args;
use safevlm::{ImageLimits, RgbImage, SafeVlm, Verdict, load_image};

use crate::args::ModelArgs;
use crate::commands::guard_report::Report;
use crate::error::{BAD_INPUT, CliError, FAILURE};
use crate::inputs;
use crate::progress::Progress;
use crate::terminal::report_error;

/// Images that the model sees at once.
const BATCH: usize = 8;
/// Pixels of a batch: large images go alone, so that memory does not grow with the batch.
const BATCH_PIXELS: u64 = 16_000_000;

const EXAMPLES: &str = "\
A file that cannot be used is reported, the others are still done, and the exit status is 2.

Examples:
  safevlm guard photo.jpg
  safevlm guard photos/ \"scans/*.png\" --threshold 0.8
  safevlm guard photos/ --json | jq -r 'select(.safety.flagged).path'";

/// Say of each image whether it is harmful, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GuardArgs {
    /// Images, folders (with all that is below them) or patterns.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print one JSON object a line for each image: {"path": ..., "safety": {...}}.
    #[arg(long)]
    json: bool,
    /// Classes in the chart below each image, on a terminal; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: &GuardArgs) -> Result<(), CliError> {
    args.model.check_device()?;
    let (files, errors) = inputs::expand(&args.paths);
    let mut model: Option<SafeVlm> = None;
    let judge = |images: &[&RgbImage]| -> Result<Vec<Verdict>, CliError> {
        // Loaded with the first image that can be used: without one there is no need to.
        let model = match &mut model {
            Some(model) => model,
            none => none.insert(args.model.load()?),
        };
        Ok(model.guard(images)?)
    };
    let report = Report::new(args.json, args.top);
    let mut walk = Walk { report, progress: Progress::new(files.len()), judge, status: 0 };
    for error in &errors {
        walk.failed(BAD_INPUT, error);
    }
    walk.all(&files)?;
    match walk.status {
        0 => Ok(()),
        status => Err(CliError::Reported(status)),
    }
}

/// A walk over all files.
struct Walk<R, J> {
    report: R,
    progress: Progress,
    judge: J,
    /// The exit status so far: that of the worst file.
    status: u8,
}

/// Takes the verdict on one file.
pub(crate) trait Sink {
    fn write(&mut self, path: &Path, verdict: &Verdict) -> std::io::Result<()>;
}

impl<R: Sink, J: FnMut(&[&RgbImage]) -> Result<Vec<Verdict>, CliError>> Walk<R, J> {
    fn all(&mut self, files: &[PathBuf]) -> Result<(), CliError> {
        let limits = ImageLimits::default();
        let mut batch: Vec<(&Path, RgbImage)> = Vec::new();
        for file in files {
            let image = load_image(file, &limits);
            // What came before goes first where it would be too much together, and where this one
            // failed, so that the output keeps the order of the files.
            let room = BATCH_PIXELS.saturating_sub(batch.iter().map(|(_, image)| pixels(image)).sum());
            if batch.len() == BATCH || image.as_ref().map_or(true, |image| pixels(image) > room) {
                self.batch(&batch)?;
                batch.clear();
            }
            match image {
                Ok(image) => batch.push((file, image)),
                Err(error) => self.failed(BAD_INPUT, &error),
            }
        }
        self.batch(&batch)
    }

    fn batch(&mut self, batch: &[(&Path, RgbImage)]) -> Result<(), CliError> {
        if batch.is_empty() {
            return Ok(());
        }
        let images: Vec<&RgbImage> = batch.iter().map(|(_, image)| image).collect();
        match (self.judge)(&images) {
            Ok(verdicts) if verdicts.len() == batch.len() => {
                for ((path, _), verdict) in batch.iter().zip(&verdicts) {
                    let report = &mut self.report;
                    self.progress.hidden(|| report.write(path, verdict)).map_err(CliError::Output)?;
                    self.progress.advance();
                }
                Ok(())
            }
            // A missing verdict must never pass for a harmless image.
            Ok(verdicts) => Err(CliError::MissingVerdicts { images: batch.len(), verdicts: verdicts.len() }),
            // Each alone, so that the one that has no verdict is named and the others are not lost.
            Err(CliError::Model(safevlm::Error::Verdict(_))) if batch.len() > 1 => {
                batch.iter().try_for_each(|one| self.batch(std::slice::from_ref(one)))
            }
            Err(CliError::Model(safevlm::Error::Verdict(error))) => {
                self.failed(FAILURE, &format!("cannot judge image `{}`: {error}", batch[0].0.display()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn failed(&mut self, status: u8, error: &dyn std::fmt::Display) {
        self.status = self.status.max(status);
        self.progress.hidden(|| report_error(error));
        self.progress.advance();
    }
}

fn pixels(image: &RgbImage) -> u64 {
    u64::from(image.width()) * u64::from(image.height())
}

#[cfg(test)]
mod tests {
    use safevlm::VerdictError;

    use super::*;
    use crate::verdicts::tests::weapon;

    #[derive(Default)]
    struct Seen(Vec<(String, f32)>);

    impl Sink for Seen {
        fn write(&mut self, path: &Path, verdict: &Verdict) -> std::io::Result<()> {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            self.0.push((name, verdict.unsafe_probability));
            Ok(())
        }
    }

    /// What was written, the sizes of the batches, and how it ended.
    struct Walked {
        seen: Vec<(String, f32)>,
        batches: Vec<usize>,
        status: Result<u8, CliError>,
    }

    impl Walked {
        fn names(&self) -> Vec<&str> {
            self.seen.iter().map(|(name, _)| name.as_str()).collect()
        }
    }

    /// Walks over files whose names are their widths; the verdict is the width in hundredths.
    fn walk(names: &[&str]) -> Walked {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for name in names {
            let path = folder.path().join(name);
            match name.trim_end_matches(".png").parse::<u32>() {
                Ok(width) => RgbImage::new(width, 1).save(&path).unwrap(),
                Err(_) => std::fs::write(&path, "no image").unwrap(),
            }
            files.push(path);
        }
        let mut batches = Vec::new();
        let judge = |images: &[&RgbImage]| {
            batches.push(images.len());
            if images.iter().any(|image| image.width() == 13) {
                return Err(safevlm::Error::from(VerdictError::WrongSum { sum: 2.0 }).into());
            }
            if images[0].width() == 99 {
                return Err(safevlm::Error::Device("gone".into()).into());
            }
            let few = images.iter().filter(|image| image.width() != 98);
            Ok(few.map(|image| weapon(image.width() as f32 / 100.0)).collect())
        };
        let mut walk = Walk { report: Seen::default(), progress: Progress::new(names.len()), judge, status: 0 };
        let outcome = walk.all(&files);
        let (seen, status) = (walk.report.0, walk.status);
        Walked { seen, batches, status: outcome.map(|()| status) }
    }

    #[test]
    fn files_keep_their_order_and_come_in_batches() {
        let names: Vec<String> = (20..31).map(|width| format!("{width}.png")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let walked = walk(&names);
        assert_eq!(walked.names(), names);
        assert!((walked.seen[3].1 - 0.23).abs() < 1e-6);
        assert_eq!(walked.batches, [8, 3]);
        assert_eq!(walked.status.unwrap(), 0);
    }

    #[test]
    fn a_file_that_fails_costs_no_other() {
        let walked = walk(&["20.png", "text.png", "21.png"]);
        assert_eq!(walked.names(), ["20.png", "21.png"]);
        assert_eq!(walked.status.unwrap(), BAD_INPUT);
    }

    #[test]
    fn an_image_without_a_verdict_is_never_passed() {
        let walked = walk(&["12.png", "13.png", "14.png"]);
        assert_eq!(walked.names(), ["12.png", "14.png"]);
        assert_eq!(walked.batches, [3, 1, 1, 1]);
        assert_eq!(walked.status.unwrap(), FAILURE);

        let walked = walk(&["97.png", "98.png"]);
        assert!(walked.seen.is_empty());
        assert!(matches!(walked.status, Err(CliError::MissingVerdicts { images: 2, verdicts: 1 })));
    }

    #[test]
    fn a_model_that_cannot_run_ends_the_walk() {
        let walked = walk(&["99.png", "20.png"]);
        assert!(walked.seen.is_empty());
        assert_eq!(walked.batches, [2]);
        assert!(matches!(walked.status, Err(CliError::Model(safevlm::Error::Device(_)))));
    }
}
