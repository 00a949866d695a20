//! A walk over all files, in batches.

use std::fmt::Display;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use safevlm::{ImageLimits, RgbImage, load_image};

use super::Judged;
use crate::error::{BAD_INPUT, CliError, FAILURE};
use crate::progress::Progress;
use crate::terminal::report_error;

/// Images that the model sees at once.
const BATCH: usize = 8;
/// Pixels of a batch: large images go alone, so that memory does not grow with the batch.
const BATCH_PIXELS: u64 = 16_000_000;

/// Images that are judged together.
pub(crate) type Batch<'a> = [(&'a Path, RgbImage)];

/// Why a file has no verdict.
pub(crate) struct Failure {
    /// The exit status that it stands for: [`BAD_INPUT`] where the file is no image, [`FAILURE`] where the guard failed.
    pub(crate) status: u8,
    /// One sentence that names the file.
    pub(crate) message: String,
}

/// A file and what the guard says of it.
pub(crate) type Found<'a> = (&'a Path, Result<Judged, Failure>);

/// Takes what is found of the files.
pub(crate) trait Sink {
    /// The files of one batch, in their order.
    fn write(&mut self, found: &[Found<'_>]) -> Result<(), CliError>;
}

/// A walk over all files.
pub(crate) struct Walk<S, J> {
    sink: S,
    judge: J,
    progress: Progress,
    status: u8,
}

impl<S: Sink, J: FnMut(&Batch<'_>) -> Result<Vec<Judged>, CliError>> Walk<S, J> {
    pub(crate) fn new(sink: S, judge: J, progress: Progress) -> Self {
        Self { sink, judge, progress, status: 0 }
    }

    /// The exit status so far: that of the worst file.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// Judges `files` in their order. Which of them come together depends on them only, so that the same files
    /// always give the same numbers. The next batch is read while one is judged.
    pub(crate) fn all<P: AsRef<Path>>(&mut self, files: &[P]) -> Result<(), CliError> {
        let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
        std::thread::scope(|scope| {
            // One batch waits, one is read and one is judged: whatever the folder, there are no more.
            let (send, receive) = sync_channel(1);
            scope.spawn(move || read(&files, &mut |read| send.send(read).is_ok()));
            for read in receive {
                match read {
                    Read::Batch(batch) => self.batch(&batch)?,
                    Read::Failed(file, message) => {
                        self.found(&[(file, Err(Failure { status: BAD_INPUT, message }))])?;
                    }
                }
            }
            Ok(())
        })
    }

    fn batch(&mut self, batch: &Batch<'_>) -> Result<(), CliError> {
        let judged = self.judged(batch)?;
        let found: Vec<Found<'_>> = batch.iter().map(|(path, _)| *path).zip(judged).collect();
        self.found(&found)
    }

    fn judged(&mut self, batch: &Batch<'_>) -> Result<Vec<Result<Judged, Failure>>, CliError> {
        match (self.judge)(batch) {
            Ok(judged) if judged.len() == batch.len() => Ok(judged.into_iter().map(Ok).collect()),
            // A missing verdict must never pass for a harmless image.
            Ok(judged) => Err(CliError::MissingVerdicts { images: batch.len(), verdicts: judged.len() }),
            // Each alone, so that the one that has no verdict is named and the others are not lost.
            Err(CliError::Model(safevlm::Error::Verdict(_))) if batch.len() > 1 => {
                let mut all = Vec::with_capacity(batch.len());
                for one in batch {
                    all.extend(self.judged(std::slice::from_ref(one))?);
                }
                Ok(all)
            }
            Err(CliError::Model(safevlm::Error::Verdict(error))) => {
                let message = format!("cannot judge image `{}`: {error}", batch[0].0.display());
                Ok(vec![Err(Failure { status: FAILURE, message })])
            }
            Err(error) => Err(error),
        }
    }

    fn found(&mut self, found: &[Found<'_>]) -> Result<(), CliError> {
        for failure in found.iter().filter_map(|(_, found)| found.as_ref().err()) {
            self.failed(failure.status, &failure.message);
        }
        let sink = &mut self.sink;
        self.progress.hidden(|| sink.write(found))?;
        self.progress.advance_by(found.len());
        Ok(())
    }

    /// Reports a failure.
    pub(crate) fn failed(&mut self, status: u8, error: &dyn Display) {
        self.status = self.status.max(status);
        self.progress.hidden(|| report_error(error));
    }
}

/// What was read of the files.
enum Read<'a> {
    /// Images that are judged together.
    Batch(Vec<(&'a Path, RgbImage)>),
    /// A file that is no image, and why.
    Failed(&'a Path, String),
}

/// Reads `files` in their order and hands on what it has read, until that is no longer wanted.
fn read<'a>(files: &[&'a Path], hand_on: &mut dyn FnMut(Read<'a>) -> bool) {
    let limits = ImageLimits::default();
    let mut batch: Vec<(&Path, RgbImage)> = Vec::new();
    for file in files {
        let image = load_image(file, &limits);
        // What came before goes first where it would be too much together, and where this one
        // failed, so that the output keeps the order of the files.
        let room = BATCH_PIXELS.saturating_sub(batch.iter().map(|(_, image)| pixels(image)).sum());
        let full = batch.len() == BATCH || image.as_ref().map_or(true, |image| pixels(image) > room);
        if full && !batch.is_empty() && !hand_on(Read::Batch(std::mem::take(&mut batch))) {
            return;
        }
        match image {
            Ok(image) => batch.push((file, image)),
            Err(error) if !hand_on(Read::Failed(file, error.to_string())) => return,
            Err(_) => {}
        }
    }
    if !batch.is_empty() {
        hand_on(Read::Batch(batch));
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
        fn write(&mut self, found: &[Found<'_>]) -> Result<(), CliError> {
            for (path, judged) in found {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                self.0.extend(judged.iter().map(|judged| (name.clone(), judged.verdict.unsafe_probability)));
            }
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
        let judge = |batch: &Batch<'_>| {
            batches.push(batch.len());
            let widths: Vec<u32> = batch.iter().map(|(_, image)| image.width()).collect();
            if widths.contains(&13) {
                return Err(safevlm::Error::from(VerdictError::WrongSum { sum: 2.0 }).into());
            }
            if widths[0] == 99 {
                return Err(safevlm::Error::Device("gone".into()).into());
            }
            let few = widths.iter().filter(|width| **width != 98);
            Ok(few.map(|width| Judged { verdict: weapon(*width as f32 / 100.0), heat: None }).collect())
        };
        let mut walk = Walk::new(Seen::default(), judge, Progress::new(names.len()));
        let outcome = walk.all(&files);
        let status = walk.status();
        let seen = walk.sink.0;
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
