//! What is wrong with a data set, found before hours are spent on it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use safevlm_core::{CLASSES, ImageLimits, decode_image};
use serde::Serialize;

use crate::bench::{BenchReader, BenchRow};
use crate::error::DataError;
use crate::images::ImageStore;
use crate::json_rows::JsonRows;
use crate::llava::{LlavaReader, LlavaRecord};
use crate::record::Combination;

/// Examples that are kept of each kind of problem.
const EXAMPLES: usize = 20;

/// The layouts of a file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowFormat {
    /// HoliSafe-Bench's rows, with or without predictions.
    Bench,
    /// LLaVA's conversations.
    Llava,
}

/// How often something was found, and where first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How often.
    pub count: usize,
    /// The first ones.
    pub examples: Vec<String>,
}

impl Finding {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// What a data set holds, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The layout of its rows.
    pub format: RowFormat,
    /// Rows that follow the format.
    pub rows: usize,
    /// Of each combination.
    pub types: BTreeMap<&'static str, usize>,
    /// Of each category.
    pub categories: BTreeMap<String, usize>,
    /// Of each class of the image, by its name.
    pub labels: BTreeMap<&'static str, usize>,
    /// Different pictures.
    pub images: usize,
    /// Rows that break the format.
    pub broken_rows: Finding,
    /// Rows whose `id` an earlier one has.
    pub duplicate_ids: Finding,
    /// Pictures that are nowhere.
    pub missing_images: Finding,
    /// Pictures that cannot be decoded within the usual limits.
    pub unreadable_images: Finding,
    /// Pictures whose class differs between rows: each row keeps its own, as in HoliSafe-Bench, which has five.
    pub conflicting_labels: Finding,
    /// Rows whose `subcategory` is not the folder of the picture: no fault, since safe pictures serve other topics.
    pub other_folder: usize,
}

impl Check {
    /// Whether nothing has to be mended.
    pub fn is_sound(&self) -> bool {
        [&self.broken_rows, &self.duplicate_ids, &self.missing_images, &self.unreadable_images]
            .iter()
            .all(|finding| finding.count == 0)
    }
}

/// What is checked.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Where the pictures are, if not beside the file or in it.
    pub images: Option<PathBuf>,
    /// Whether pictures are left alone.
    pub no_images: bool,
}

/// Reads a whole data set, rows and pictures, and says what it found. `on_row` is called after each row.
///
/// # Errors
/// When the file cannot be read to its end.
pub fn check(path: &Path, options: &CheckOptions, on_row: &mut dyn FnMut()) -> Result<Check, DataError> {
    let mut checking = Checking::new(format_of(path)?);
    match checking.check.format {
        RowFormat::Bench => {
            let mut rows = BenchReader::open(path, options.images.as_deref())?;
            while let Some(row) = rows.next() {
                if let Some(row) = checking.sound(row)? {
                    // Embedded pictures may share a name, as exports keep its last part only.
                    let key = row.embedded.as_ref().map_or_else(|| hash(&row.record.image), hash);
                    checking.bench_row(&row, key);
                    if !options.no_images {
                        checking.picture(&row.record.image, key, || rows.image(&row));
                    }
                }
                on_row();
            }
        }
        RowFormat::Llava => {
            let beside = path.parent().unwrap_or(Path::new("")).join("images");
            let images = options.images.as_deref().unwrap_or(&beside);
            // Opened for the first row that has a picture: conversations without any need no folder.
            let mut store = None;
            for row in LlavaReader::open(path)? {
                if let Some(row) = checking.sound(row)? {
                    checking.llava_row(&row);
                    if !options.no_images && !row.image.is_empty() {
                        let store = match &store {
                            Some(store) => store,
                            None => store.insert(ImageStore::open(images)?),
                        };
                        for image in &row.image {
                            checking.picture(image, hash(image), || store.read(image));
                        }
                    }
                }
                on_row();
            }
        }
    }
    checking.check.images = checking.labels.len();
    Ok(checking.check)
}

/// What a file of rows holds, by its first row that says so.
fn format_of(path: &Path) -> Result<RowFormat, DataError> {
    let is_json = path.is_file() && path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("parquet"));
    if is_json && let Some(Ok(row)) = JsonRows::<serde_json::Value>::open(path)?.next() {
        return Ok(if row.get("conversations").is_some() { RowFormat::Llava } else { RowFormat::Bench });
    }
    Ok(RowFormat::Bench)
}

struct Checking {
    check: Check,
    ids: HashSet<String>,
    /// The class of each picture, by a hash of its name or, embedded, its bytes; none where no row had one.
    labels: HashMap<u64, Option<usize>>,
    /// Pictures that were looked at.
    seen: HashSet<u64>,
    conflicts: HashSet<u64>,
}

impl Checking {
    fn new(format: RowFormat) -> Self {
        let check = Check {
            format,
            rows: 0,
            types: BTreeMap::new(),
            categories: BTreeMap::new(),
            labels: BTreeMap::new(),
            images: 0,
            broken_rows: Finding::default(),
            duplicate_ids: Finding::default(),
            missing_images: Finding::default(),
            unreadable_images: Finding::default(),
            conflicting_labels: Finding::default(),
            other_folder: 0,
        };
        let (ids, labels, seen, conflicts) = Default::default();
        Self { check, ids, labels, seen, conflicts }
    }

    /// The row, or nothing where it breaks the format.
    fn sound<T>(&mut self, row: Result<T, DataError>) -> Result<Option<T>, DataError> {
        match row {
            Ok(row) => {
                self.check.rows += 1;
                Ok(Some(row))
            }
            Err(error) if error.is_row() => {
                self.check.broken_rows.add(|| error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn bench_row(&mut self, row: &BenchRow, picture: u64) {
        let record = &row.record;
        self.row(&record.id.to_string(), Some(record.combination));
        *self.check.categories.entry(record.category.clone()).or_default() += 1;
        self.label(&record.image, picture, Some(record.image_safety_label));
        // `category/subcategory/name`; a category without subcategories has two parts only.
        let parts: Vec<&str> = record.image.split('/').collect();
        let folder = parts.len().checked_sub(2).map(|at| parts[at]);
        self.check.other_folder += usize::from(folder.is_some_and(|folder| folder != record.subcategory));
    }

    fn llava_row(&mut self, row: &LlavaRecord) {
        self.row(&row.id, row.combination);
        for image in &row.image {
            self.label(image, hash(image), row.image_safety_label);
        }
    }

    fn row(&mut self, id: &str, combination: Option<Combination>) {
        if !self.ids.insert(id.to_owned()) {
            self.check.duplicate_ids.add(|| id.to_owned());
        }
        if let Some(combination) = combination {
            *self.check.types.entry(combination.as_str()).or_default() += 1;
        }
    }

    fn label(&mut self, image: &str, key: u64, label: Option<usize>) {
        if let Some(class) = label.and_then(|label| CLASSES.get(label)) {
            *self.check.labels.entry(class.name).or_default() += 1;
        }
        let before = *self.labels.entry(key).or_insert(label);
        if before != label && self.conflicts.insert(key) {
            self.check.conflicting_labels.add(|| image.to_owned());
        }
    }

    /// Looks at a picture once, however many rows show it.
    fn picture(&mut self, name: &str, key: u64, read: impl FnOnce() -> Result<Vec<u8>, DataError>) {
        if !self.seen.insert(key) {
            return;
        }
        match read() {
            Err(DataError::NoImage { .. }) => self.check.missing_images.add(|| name.to_owned()),
            Err(error) => self.check.unreadable_images.add(|| error.to_string()),
            Ok(bytes) => {
                if let Err(error) = decode_image(&bytes, &ImageLimits::default()) {
                    self.check.unreadable_images.add(|| format!("{name}: {error}"));
                }
            }
        }
    }
}

fn hash<T: Hash + ?Sized>(of: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
