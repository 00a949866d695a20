//! Writes composed scenes as a data set folder in the layout of HoliSafe-Bench.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use safevlm_core::CLASSES;

use crate::error::DataError;
use crate::record::{Combination, Record, write_jsonl};
use crate::sets::PictureSets;
use crate::vendors::{Split, vendors};

/// What a composed folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Pictures.
    pub scenes: usize,
    /// Rows of each combination.
    pub rows: BTreeMap<Combination, usize>,
    /// Pictures of each class; the index is the class id.
    pub classes: Vec<usize>,
}

/// The rows of a composed data set in HoliSafe-Bench's own format, without answers.
pub const BENCH_FILE: &str = "holisafe_bench.json";

/// Composes the scenes of `count` seeds from `first_seed` on into the folder `out`: pictures under
/// `images/`, rows with answers in `records.jsonl`, rows as the benchmark has them in
/// `holisafe_bench.json`, and a card in `README.md`. The folder appears when it is complete.
///
/// # Errors
/// When `out` holds something already, or something cannot be drawn or written.
pub fn compose_to_folder(
    sets: &PictureSets,
    count: usize,
    first_seed: u64,
    out: &Path,
    progress: bool,
) -> Result<Summary, DataError> {
    let existed = out.exists();
    if existed && fs::read_dir(out).map_err(DataError::io("read", out))?.next().is_some() {
        return Err(DataError::NotEmpty { path: out.to_path_buf() });
    }
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(DataError::io("create", &parent))?;
    let aside = tempfile::Builder::new()
        .prefix(".safevlm-compose-")
        .tempdir_in(&parent)
        .map_err(DataError::io("create", &parent))?;
    let summary = fill(sets, count, first_seed, aside.path(), progress)?;
    // The temporary folder is private; the data set should be readable like any other folder.
    let folder = aside.path().join("set");
    if existed {
        fs::remove_dir(out).map_err(DataError::io("replace", out))?;
    }
    fs::rename(&folder, out).map_err(DataError::io("create", out))?;
    Ok(summary)
}

/// Writes everything into `set/` below `aside`.
fn fill(sets: &PictureSets, count: usize, first_seed: u64, aside: &Path, progress: bool) -> Result<Summary, DataError> {
    let folder = aside.join("set");
    let images = folder.join("images");
    let mut records: Vec<Record> = Vec::new();
    let mut summary = Summary { scenes: 0, rows: BTreeMap::new(), classes: vec![0; CLASSES.len()] };
    let bar = bar(progress, count as u64);
    for scene in sets.scenes(first_seed, count) {
        let scene = scene?;
        // Every scene has a row, and all of its rows name the same picture.
        let Some(row) = scene.rows.first() else { continue };
        let path = images.join(&row.image);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(DataError::io("create", parent))?;
        }
        let encode = |source| DataError::Encode { path: path.clone(), source };
        scene.image.save(&path).map_err(encode)?;
        summary.scenes += 1;
        summary.classes[scene.label_id] += 1;
        for row in &scene.rows {
            *summary.rows.entry(row.combination).or_default() += 1;
        }
        records.extend(scene.rows);
        bar.inc(1);
    }
    bar.finish_and_clear();
    fs::create_dir_all(&images).map_err(DataError::io("create", &images))?;
    write_file(&folder.join("records.jsonl"), |path, out| write_jsonl(&records, path, out))?;
    for record in &mut records {
        record.answer.clear();
    }
    write_file(&folder.join(BENCH_FILE), |path, out| {
        serde_json::to_writer_pretty(out, &records).map_err(|e| DataError::io("write", path)(e.into()))
    })?;
    let card = card(sets.split(), first_seed, &summary);
    write_file(&folder.join("README.md"), |path, out| {
        out.write_all(card.as_bytes()).map_err(DataError::io("write", path))
    })?;
    Ok(summary)
}

fn write_file(
    path: &Path,
    content: impl FnOnce(&Path, &mut dyn Write) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut out = BufWriter::new(File::create(path).map_err(DataError::io("create", path))?);
    content(path, &mut out)?;
    let file = out.into_inner().map_err(|e| DataError::io("write", path)(e.into_error()))?;
    file.sync_all().map_err(DataError::io("write", path))
}

/// The data set card: what it is, how to make it again, and whose art it holds.
fn card(split: Split, first_seed: u64, summary: &Summary) -> String {
    let licence = match split {
        Split::Train => "other",
        Split::HeldOut => "cc-by-sa-4.0",
    };
    let mut card = format!(
        "---\nlicense: {licence}\n---\n\n# Composed symbol scenes, split `{split}`\n\n\
         {} pictures composed by `safevlm data compose` from the seeds {first_seed} to {}: openly licensed symbols \
         on drawn backgrounds, labelled with HoliSafe's 20 classes, with questions and target answers. They are no \
         photographs, and a model that does well here has shown nothing about photographs.\n\n\
         `records.jsonl` has a row for each question with its target answer; `holisafe_bench.json` has the same rows \
         with the benchmark's fields only. Paths are below `images/`.\n\n## Sources\n\n",
        summary.scenes,
        first_seed.wrapping_add((summary.scenes as u64).saturating_sub(1)),
    );
    card.push_str("| set | package | licence | author |\n| --- | --- | --- | --- |\n");
    for vendor in vendors(split) {
        let _ = writeln!(
            card,
            "| {} | npm `{}` {} | {} | {} |",
            vendor.name, vendor.package, vendor.version, vendor.licence, vendor.author
        );
    }
    card.push_str(match split {
        Split::Train => "\nThe pictures are derived from these sets; keep the authors' names with them.\n",
        Split::HeldOut => {
            "\nOpenMoji is under CC BY-SA 4.0, so the composed pictures are too: share them under the same licence \
             and name the authors.\n"
        }
    });
    card.push_str("\n## Counts\n\n| class | pictures |\n| --- | ---: |\n");
    for (class, count) in CLASSES.iter().zip(&summary.classes) {
        let _ = writeln!(card, "| {} | {count} |", class.name);
    }
    card.push_str("\n| combination | rows |\n| --- | ---: |\n");
    for (combination, count) in &summary.rows {
        let _ = writeln!(card, "| {} | {count} |", combination.as_str());
    }
    card
}

/// A progress bar over scenes, shown on a terminal only.
fn bar(progress: bool, length: u64) -> ProgressBar {
    let bar = if progress { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("composing [{wide_bar}] {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar
}
