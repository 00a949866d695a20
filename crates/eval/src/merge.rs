//! The parts of a benchmark that was split over machines, joined and checked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use safevlm_data::{DataError, write_whole};

use crate::error::EvalError;
use crate::prediction::Predictions;
use crate::run::{RunInfo, run_info_path};

/// Joins finished parts, each with its [`RunInfo`], into `out`, in the order of their numbers.
///
/// # Errors
/// When a part is missing, given twice, not finished, of other settings, has other rows than it says, or shares a
/// row with another; or when something cannot be read or written. Then `out` is as it was.
pub fn merge(parts: &[PathBuf], out: &Path) -> Result<RunInfo, EvalError> {
    let mut infos = Vec::with_capacity(parts.len());
    for path in parts {
        let info = RunInfo::read(&run_info_path(path))?.ok_or_else(|| wrong(path, "has no .run.json beside it"))?;
        let shard = info.shard.ok_or_else(|| wrong(path, "is not a part: it was made without `--shard`"))?;
        if !info.finished {
            return Err(wrong(path, &format!("is not finished: it has {} rows so far", info.rows)));
        }
        infos.push((shard, path, info));
    }
    infos.sort_by_key(|(shard, ..)| shard.index);
    let Some((first, first_path, whole)) = infos.first().cloned() else { return Err(wrong(out, "has no parts")) };
    for (nth, (shard, path, info)) in infos.iter().enumerate() {
        info.refuse_others(path, &whole.settings, Some(*shard))?;
        if shard.count != first.count {
            return Err(wrong(path, &format!("is part {shard}, but {} is part {first}", first_path.display())));
        }
        if shard.index as usize != nth + 1 {
            let which = if (shard.index as usize) <= nth { shard.index } else { nth as u32 + 1 };
            let reason = if which == shard.index { "is there twice" } else { "is missing" };
            return Err(wrong(path, &format!("cannot be joined: part {which}/{} {reason}", shard.count)));
        }
    }
    if infos.len() != first.count as usize {
        return Err(wrong(first_path, &format!("is one of {} parts, but {} were given", first.count, infos.len())));
    }
    let mut merged = RunInfo { shard: None, rows: 0, ..whole };
    merged.timings = Default::default();
    let mut seen = HashSet::new();
    let mut failed = None;
    write_whole(out, |file| {
        for (_, path, info) in &infos {
            let mut rows = 0;
            for row in Predictions::open(path)? {
                let row = row?;
                rows += 1;
                if !seen.insert(row.record.id) {
                    let reason = format!("`id` {} is in another part too", row.record.id);
                    return Err(DataError::BadRecord { path: path.to_path_buf(), row: rows, reason });
                }
                let line = serde_json::to_string(&row).map_err(|e| io_error(out, e.into()))?;
                writeln!(file, "{line}").map_err(|e| io_error(out, e))?;
            }
            if rows != info.rows {
                failed = Some(wrong(path, &format!("has {rows} rows instead of {}", info.rows)));
                return Err(DataError::BadRecord { path: path.to_path_buf(), row: rows, reason: "incomplete".into() });
            }
            merged.rows += rows;
            merged.timings.seconds += info.timings.seconds;
            merged.timings.load_seconds += info.timings.load_seconds;
            merged.timings.generated_tokens += info.timings.generated_tokens;
            merged.timings.starts += info.timings.starts;
        }
        Ok(())
    })
    .map_err(|error| failed.take().unwrap_or(error.into()))?;
    merged.timings.rows_per_second = merged.rows as f64 / merged.timings.seconds.max(1e-9);
    merged.write(&run_info_path(out))?;
    Ok(merged)
}

fn wrong(path: &Path, what: &str) -> EvalError {
    EvalError::BadPart { path: path.to_path_buf(), what: what.to_owned() }
}

fn io_error(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io { doing: "write", path: path.to_path_buf(), source }
}
