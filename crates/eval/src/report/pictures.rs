//! Thumbnails of the examples.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;
use indexmap::IndexSet;
use safevlm::{ImageLimits, decode_image};
use safevlm_data::{DataError, ImageStore};

use super::examples::Example;
use crate::hash::hash_path;
use crate::run::RunInfo;

/// The longer side of a thumbnail, in pixels.
const SIDE: u32 = 96;

/// JPEG quality; a thumbnail has about three kilobytes.
const QUALITY: u8 = 78;

/// Folders beside the predictions that are looked into for the benchmark.
const MOST_FOLDERS: usize = 1000;

/// Where a run's pictures are: in the folder `images` beside the benchmark that the run names, or beside the
/// predictions. None where there is no such folder.
pub(super) fn find(predictions: &Path, info: Option<&RunInfo>) -> Result<Option<ImageStore>, DataError> {
    let beside = predictions.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let bench = info.and_then(|info| bench_folder(beside, info));
    let places = bench.into_iter().chain([beside.to_path_buf()]).map(|folder| folder.join("images"));
    places.into_iter().find(|place| place.is_dir()).map(|place| ImageStore::open(&place)).transpose()
}

/// The folder of the benchmark: beside the predictions, or one level below. The run names only a file, so its SHA-256
/// must be the recorded one.
fn bench_folder(beside: &Path, info: &RunInfo) -> Option<PathBuf> {
    let name = Path::new(&info.settings.bench).file_name()?;
    let mut below: Vec<PathBuf> = fs::read_dir(beside)
        .ok()?
        .take(MOST_FOLDERS)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    below.sort();
    let folders = std::iter::once(beside.to_path_buf()).chain(below);
    let is_bench = |path: &Path| path.is_file() && hash_path(path).is_ok_and(|hash| hash == info.settings.bench_sha256);
    folders.into_iter().find(|folder| is_bench(&folder.join(name)))
}

/// Thumbnails as data URLs, each once.
#[derive(Debug, Default)]
pub(super) struct Thumbnails {
    urls: IndexSet<String>,
    /// Pictures that were looked for, and not had.
    unusable: usize,
    /// The first of them, and why.
    first_problem: Option<String>,
}

impl Thumbnails {
    /// The index of a picture's thumbnail; none where it cannot be had.
    pub(super) fn add(&mut self, place: Option<&ImageStore>, name: &str) -> Option<usize> {
        match url(place?, name) {
            Ok(url) => Some(self.urls.insert_full(url).0),
            Err(problem) => {
                self.unusable += 1;
                self.first_problem.get_or_insert(problem);
                None
            }
        }
    }

    /// What a reader must know about pictures that are not there.
    pub(super) fn note(&self, examples: &[Example]) -> String {
        match (&self.first_problem, examples.iter().all(|example| example.picture.is_some())) {
            (_, true) => String::new(),
            (Some(problem), false) => format!("{} pictures are missing; the first: {problem}.", self.unusable),
            (None, false) if self.urls.is_empty() => {
                "There are no pictures: name their folder or archive with --images.".to_owned()
            }
            (None, false) => "Some runs have no pictures: name their folder or archive with --images.".to_owned(),
        }
    }

    pub(super) fn into_urls(self) -> Vec<String> {
        self.urls.into_iter().collect()
    }
}

fn url(place: &ImageStore, name: &str) -> Result<String, String> {
    let bytes = place.read(name).map_err(|error| error.to_string())?;
    let picture = decode_image(&bytes, &ImageLimits::default()).map_err(|error| format!("{name}: {error}"))?;
    let (width, height) = picture.dimensions();
    let longer = width.max(height).max(1);
    let scaled = |side: u32| (u64::from(side) * u64::from(SIDE) / u64::from(longer)).max(1) as u32;
    let small = match longer > SIDE {
        true => thumbnail(&picture, scaled(width), scaled(height)),
        false => picture,
    };
    let mut jpeg = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(small.as_raw(), small.width(), small.height(), ExtendedColorType::Rgb8)
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg.into_inner())))
}
