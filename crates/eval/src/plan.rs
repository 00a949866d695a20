//! Which rows of a benchmark are answered, and which of them together.

use std::collections::HashSet;
use std::path::PathBuf;

use safevlm_data::{BenchReader, BenchRow, DataError};
use sha2::{Digest, Sha256};

use crate::run::Shard;

/// Batches are made of this many times their rows: enough to find questions of like length, and few
/// enough to hold.
const WINDOW: usize = 16;

/// Pictures inside the benchmark's file are held up to this many bytes.
const EMBEDDED: usize = 256 << 20;

/// A benchmark's file and what of it is asked.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The file.
    pub path: PathBuf,
    /// Where the pictures are, if not beside it.
    pub images: Option<PathBuf>,
    /// One part of it; none for all.
    pub shard: Option<Shard>,
    /// Whether rows that break the format, or whose pictures cannot be used, are left out instead of ending the run.
    pub skip_bad: bool,
}

/// What a first pass over a benchmark finds.
#[derive(Debug, Default)]
pub struct Survey {
    /// Rows to answer.
    pub rows: usize,
    /// What is wrong with the rows that were left out.
    pub skipped: Vec<String>,
}

impl Bench {
    /// Reads all rows once, so that a bad one shows before hours of work.
    ///
    /// # Errors
    /// When the file cannot be read, an `id` occurs twice, or a row breaks the format and is not to be skipped.
    pub fn survey(&self) -> Result<Survey, DataError> {
        let mut survey = Survey::default();
        let mut seen = HashSet::new();
        for (index, row) in self.open()?.enumerate() {
            match row {
                Ok(row) if !seen.insert(row.record.id) => {
                    let reason = format!("`id` {} occurs twice; answers are kept by id", row.record.id);
                    return Err(DataError::BadRecord { path: self.path.clone(), row: index + 1, reason });
                }
                Ok(row) => survey.rows += usize::from(in_shard(row.record.id, self.shard)),
                Err(error) if self.skip_bad && error.is_row() => survey.skipped.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(survey)
    }

    /// The benchmark from its beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(&self) -> Result<BenchReader, DataError> {
        BenchReader::open(&self.path, self.images.as_deref())
    }

    /// The rows to answer in batches of up to `batch`, questions of like length together. The same file and
    /// `batch` give the same batches, whatever was answered before.
    ///
    /// # Errors
    /// When it cannot be read; each batch may fail too.
    pub fn batches(&self, batch: usize) -> Result<Batches, DataError> {
        Ok(Batches {
            rows: self.open()?,
            shard: self.shard,
            skip_bad: self.skip_bad,
            batch,
            window: Vec::new(),
            skipped: 0,
        })
    }
}

/// Batches of a benchmark's rows, read as they are needed.
#[derive(Debug)]
pub struct Batches {
    rows: BenchReader,
    shard: Option<Shard>,
    skip_bad: bool,
    batch: usize,
    /// Rows that were read and not given yet, the next batch last.
    window: Vec<Vec<BenchRow>>,
    skipped: usize,
}

impl Batches {
    /// The encoded picture of a row.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn image(&self, row: &BenchRow) -> Result<Vec<u8>, DataError> {
        self.rows.image(row)
    }

    /// Rows that were left out so far.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Counts one more row that is left out.
    pub fn skip(&mut self) {
        self.skipped += 1;
    }

    fn fill(&mut self) -> Result<(), DataError> {
        let (mut rows, mut embedded) = (Vec::new(), 0);
        while rows.len() < self.batch.saturating_mul(WINDOW) && embedded < EMBEDDED {
            match self.rows.next() {
                Some(Ok(row)) if in_shard(row.record.id, self.shard) => {
                    embedded += row.embedded.as_ref().map_or(0, Vec::len);
                    rows.push(row);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if self.skip_bad && error.is_row() => self.skipped += 1,
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        rows.sort_by_key(|row| row.record.query.len());
        self.window = rows.chunks(self.batch.max(1)).rev().map(<[BenchRow]>::to_vec).collect();
        Ok(())
    }
}

impl Iterator for Batches {
    type Item = Result<Vec<BenchRow>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.window.is_empty()
            && let Err(error) = self.fill()
        {
            return Some(Err(error));
        }
        self.window.pop().map(Ok)
    }
}

/// Whether a row belongs to a part of the benchmark: by a hash of its id, so that every machine finds the
/// same parts, of nearly equal size, wherever the row stands in the file.
fn in_shard(id: u64, shard: Option<Shard>) -> bool {
    let Some(shard) = shard else { return true };
    let digest = Sha256::digest(id.to_le_bytes());
    let hash = u64::from_le_bytes(digest[..8].try_into().unwrap_or_default());
    hash % u64::from(shard.count.max(1)) == u64::from(shard.index.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn parts_are_disjoint_whole_and_of_like_size() {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for id in 0..4000 {
            let parts: Vec<u32> =
                (1..=4).filter(|index| in_shard(id, Some(Shard { index: *index, count: 4 }))).collect();
            assert_eq!(parts.len(), 1, "row {id} is in {parts:?}");
            *counts.entry(parts[0]).or_default() += 1;
        }
        assert!(counts.values().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
