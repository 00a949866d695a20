//! The verdicts of a run that survives kills, until they become a table.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use safevlm_data::{DataError, Journal};
use serde::{Deserialize, Serialize};

use super::table::Row;
use crate::error::CliError;

/// Everything that decides a verdict. Verdicts of different settings are never mixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The model's name.
    pub(crate) model: String,
    /// SHA-256 of the model's files, and of an adapter's.
    pub(crate) model_sha256: String,
    /// The type that was computed in.
    pub(crate) dtype: String,
    /// From this probability of being unsafe on, an image is flagged.
    pub(crate) threshold: f32,
}

/// The first line of the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    settings: Settings,
    /// The guard's labels, which name the columns.
    labels: Vec<String>,
}

/// By what a file is known to be the one that was judged: its size in bytes, and when it was last changed, in
/// nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    size: u64,
    modified: i64,
}

impl Stamp {
    /// The stamp of a file as it is now; none if it cannot be told, so that the file is judged again.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().and_then(|metadata| Self::from_metadata(&metadata))
    }

    fn from_metadata(metadata: &Metadata) -> Option<Self> {
        let since = match metadata.modified().ok()?.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).ok()?,
            Err(before) => -i64::try_from(before.duration().as_nanos()).ok()?,
        };
        Some(Self { size: metadata.len(), modified: since })
    }
}

/// One file that was judged. A batch is one line of the journal, so that a kill never leaves half of one: the files
/// that come together again are then the same, and so are their numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) row: Row,
    pub(crate) stamp: Option<Stamp>,
}

/// The journal beside a table that is being made.
#[derive(Debug)]
pub(crate) struct Results {
    path: PathBuf,
    journal: Journal,
    labels: Option<Vec<String>>,
    done: HashMap<String, Stamp>,
}

impl Results {
    /// Opens or begins the journal of the table `out`.
    ///
    /// # Errors
    ///
    /// If the table is there already, or was begun with other settings, unless with `restart`; or the journal cannot
    /// be read or written, or another run has it.
    pub(crate) fn open(out: &Path, settings: &Settings, restart: bool) -> Result<Self, CliError> {
        let path = journal_path(out);
        if restart && path.exists() {
            // Held first, so that the journal of a run that goes on is left alone.
            drop(Journal::open(&path, &mut |_, _| Ok(()))?);
            fs::remove_file(&path).map_err(|source| DataError::Io { doing: "write", path: path.clone(), source })?;
        }
        if !restart && !path.exists() && out.exists() {
            return Err(CliError::Input(format!(
                "{} is there already; name another file with `--out`, or replace it with `--restart`",
                out.display()
            )));
        }
        let (mut header, mut done) = (None, HashMap::new());
        let journal = Journal::open(&path, &mut |nth, line| {
            let damaged = |error: serde_json::Error| DataError::BadFile {
                path: path.clone(),
                row: nth,
                reason: format!("is no line of a stopped run ({error})"),
            };
            if nth == 1 {
                header = Some(serde_json::from_str::<Header>(line).map_err(damaged)?);
                return Ok(());
            }
            for entry in serde_json::from_str::<Vec<Entry>>(line).map_err(damaged)? {
                if let Some(stamp) = entry.stamp {
                    done.insert(entry.row.path, stamp);
                }
            }
            Ok(())
        })?;
        if let Some(header) = &header {
            refuse_others(&path, &header.settings, settings)?;
        }
        Ok(Self { path, journal, labels: header.map(|header| header.labels), done })
    }

    /// Whether a file was judged as it is now.
    pub(crate) fn is_done(&self, path: &str, stamp: Option<Stamp>) -> bool {
        stamp.is_some() && self.done.get(path).copied() == stamp
    }

    /// The guard's labels; none before [`begin`](Self::begin).
    pub(crate) fn labels(&self) -> Option<&[String]> {
        self.labels.as_deref()
    }

    /// Writes the first line, if it is not there.
    pub(crate) fn begin(&mut self, settings: &Settings, labels: &[String]) -> Result<(), CliError> {
        if self.labels.is_none() {
            self.journal.append(&[Header { settings: settings.clone(), labels: labels.to_vec() }])?;
            self.labels = Some(labels.to_vec());
        }
        Ok(())
    }

    /// Adds a batch.
    pub(crate) fn append(&mut self, batch: Vec<Entry>) -> Result<(), CliError> {
        Ok(self.journal.append(&[batch])?)
    }

    /// Where the rows of the files are.
    pub(crate) fn index(&self) -> io::Result<Index> {
        let mut lines = BufReader::new(File::open(&self.path)?);
        let (mut places, mut line, mut offset) = (HashMap::new(), Vec::new(), 0);
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(Index { lines, places, last: None });
            }
            if offset > 0 {
                // A file that changed between two runs is there twice, and the second counts.
                let batch: Vec<Entry> = serde_json::from_slice(&line)?;
                places.extend(batch.into_iter().enumerate().map(|(nth, entry)| (entry.row.path, (offset, nth))));
            }
            offset += read as u64;
        }
    }

    /// Removes the journal, when the table is there.
    pub(crate) fn remove(self) -> Result<(), CliError> {
        drop(self.journal);
        let removed = fs::remove_file(&self.path);
        Ok(removed.map_err(|source| DataError::Io { doing: "remove", path: self.path, source })?)
    }
}

/// Finds rows in a journal, of which only places are in memory.
pub(crate) struct Index {
    lines: BufReader<File>,
    /// Where the line of each file begins, and which row of it is the file's.
    places: HashMap<String, (u64, usize)>,
    /// The line that was read last: most files come in its order.
    last: Option<(u64, Vec<Entry>)>,
}

impl Index {
    /// The row of a file; none if it was not judged.
    pub(crate) fn row(&mut self, path: &str) -> io::Result<Option<Row>> {
        let Some((offset, nth)) = self.places.get(path).copied() else { return Ok(None) };
        let batch = match self.last.take() {
            Some((at, batch)) if at == offset => batch,
            _ => {
                let mut line = Vec::new();
                self.lines.seek(SeekFrom::Start(offset))?;
                self.lines.read_until(b'\n', &mut line)?;
                serde_json::from_slice(&line)?
            }
        };
        let row = batch.get(nth).map(|entry| entry.row.clone());
        self.last = Some((offset, batch));
        Ok(row)
    }
}

/// Where the rows of a table are until it is made: `a.csv` has `a.csv.partial.jsonl`.
pub(crate) fn journal_path(out: &Path) -> PathBuf {
    let mut name = OsString::from(out);
    name.push(".partial.jsonl");
    name.into()
}

/// An error that names the first setting that differs.
fn refuse_others(path: &Path, old: &Settings, new: &Settings) -> Result<(), CliError> {
    let pairs = [
        ("model", old.model.clone(), new.model.clone()),
        ("model's SHA-256", old.model_sha256.clone(), new.model_sha256.clone()),
        ("dtype", old.dtype.clone(), new.dtype.clone()),
        ("threshold", old.threshold.to_string(), new.threshold.to_string()),
    ];
    match pairs.into_iter().find(|(_, old, new)| old != new) {
        None => Ok(()),
        Some((setting, old, new)) => Err(CliError::Input(format!(
            "{} was begun with other settings: the {setting} was {old} and would be {new}; go back to the old one, or \
             begin anew with `--restart`",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdicts::tests::weapon;

    fn settings() -> Settings {
        Settings { model: "m".into(), model_sha256: "1f".into(), dtype: "f32".into(), threshold: 0.5 }
    }

    fn entry(path: &str, p: f32, stamp: Stamp) -> Entry {
        Entry { row: Row { path: path.into(), safety: Some(weapon(p)), error: None }, stamp: Some(stamp) }
    }

    const OLD: Stamp = Stamp { size: 1, modified: -5 };
    const NEW: Stamp = Stamp { size: 1, modified: 7 };

    #[test]
    fn what_was_judged_is_known_again_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.csv");
        let mut results = Results::open(&out, &settings(), false).unwrap();
        assert_eq!(results.labels(), None);
        results.begin(&settings(), &["safe".into()]).unwrap();
        results.append(vec![entry("a", 0.125, OLD), entry("b", 0.25, OLD)]).unwrap();
        drop(results);

        let mut results = Results::open(&out, &settings(), false).unwrap();
        assert_eq!(results.labels(), Some(&["safe".to_owned()][..]));
        assert!(results.is_done("a", Some(OLD)) && results.is_done("b", Some(OLD)));
        assert!(!results.is_done("a", Some(NEW)) && !results.is_done("a", None) && !results.is_done("c", Some(OLD)));
        results.append(vec![entry("a", 0.75, NEW)]).unwrap();
        let mut index = results.index().unwrap();
        let mut probability = |path| index.row(path).unwrap().map(|row| row.safety.unwrap().unsafe_probability);
        assert_eq!([probability("b"), probability("a"), probability("c")], [Some(0.25), Some(0.75), None]);
        results.remove().unwrap();
        assert!(!journal_path(&out).exists());
    }

    #[test]
    fn other_settings_are_refused_and_a_restart_forgets() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.csv");
        Results::open(&out, &settings(), false).unwrap().begin(&settings(), &[]).unwrap();
        let other = Settings { threshold: 0.75, ..settings() };
        let error = Results::open(&out, &other, false).unwrap_err().to_string();
        assert!(error.contains("threshold was 0.5 and would be 0.75") && error.contains("--restart"), "{error}");
        let mut results = Results::open(&out, &other, true).unwrap();
        assert_eq!(results.labels(), None);
        results.begin(&other, &[]).unwrap();
        let busy = Results::open(&out, &other, true).unwrap_err().to_string();
        assert!(busy.contains("another run"), "{busy}");
    }

    #[test]
    fn a_table_or_another_file_is_not_taken_for_a_stopped_run() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.csv");
        fs::write(&out, "mine").unwrap();
        let error = Results::open(&out, &settings(), false).unwrap_err().to_string();
        assert!(error.contains("is there already") && error.contains("--restart"), "{error}");
        assert!(!journal_path(&out).exists());
        fs::write(journal_path(&out), "{}\n").unwrap();
        let error = Results::open(&out, &settings(), false).unwrap_err().to_string();
        assert!(error.contains("partial.jsonl, row 1"), "{error}");
    }
}
