//! Composed scenes, rows in HoliSafe's format, and rows in LLaVA's, with or without pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safevlm::Cache;
use safevlm_core::{ImageLimits, Message, Part, RgbImage, Role, decode_image};
use safevlm_data::{
    Combination, DataError, IMAGE_PLACEHOLDER, ImageStore, JsonRows, LlavaReader, LlavaRecord, PictureSets, Record,
    Scene, Speaker,
};

use crate::error::TrainError;
use crate::mix::Mix;
use crate::recipe::{DataKind, DataRecipe, Recipe};
use crate::sample::{Exchange, Sample, Source};

/// The data of `recipe`, opened.
///
/// # Errors
///
/// If a file cannot be read or a row is damaged, or the picture sets cannot be fetched.
pub fn open(recipe: &Recipe, progress: bool) -> Result<Mix, TrainError> {
    mix(&recipe.data, recipe, progress)
}

/// Some sources as one.
pub(crate) fn mix(data: &[DataRecipe], recipe: &Recipe, progress: bool) -> Result<Mix, TrainError> {
    let source = |data: &DataRecipe| Ok::<_, TrainError>((open_source(data, recipe, progress)?, data.weight));
    Ok(Mix::new(data.iter().map(source).collect::<Result<_, _>>()?, recipe.seed))
}

/// One of them.
pub(crate) fn open_source(data: &DataRecipe, recipe: &Recipe, progress: bool) -> Result<Box<dyn Source>, TrainError> {
    let path = data.path.as_deref().unwrap_or(Path::new(""));
    let beside = path.with_file_name("images");
    let images = data.images.as_deref();
    let all: Box<dyn Source> = match data.kind {
        DataKind::Symbolic => {
            let sets = PictureSets::load(&Cache::open(None)?, data.split, progress)?;
            Box::new(Symbolic::new(sets, recipe.seed))
        }
        DataKind::Holisafe => Box::new(Rows::holisafe(path, images.unwrap_or(&beside))?),
        DataKind::Llava => Box::new(Rows::llava(path, images.or(beside.is_dir().then_some(&beside)))?),
    };
    Ok(match data.without.is_empty() {
        true => all,
        false => Box::new(Without { all, combinations: data.without.clone() }),
    })
}

/// A source without the questions of some combinations.
struct Without {
    all: Box<dyn Source>,
    combinations: Vec<Combination>,
}

impl Source for Without {
    fn count(&self) -> Option<usize> {
        self.all.count()
    }

    fn sample(&self, number: usize) -> Result<Sample, TrainError> {
        let mut sample = self.all.sample(number)?;
        let kept = |exchange: &Exchange| exchange.combination.is_none_or(|own| !self.combinations.contains(&own));
        sample.exchanges.retain(kept);
        Ok(sample)
    }
}

/// Scenes that are composed as they are needed.
#[derive(Debug)]
pub struct Symbolic {
    sets: PictureSets,
    seed: u64,
}

impl Symbolic {
    /// Those of one split; other seeds give other scenes.
    pub fn new(sets: PictureSets, seed: u64) -> Self {
        Self { sets, seed }
    }
}

impl Source for Symbolic {
    fn count(&self) -> Option<usize> {
        None
    }

    fn sample(&self, number: usize) -> Result<Sample, TrainError> {
        let seed = self.seed.wrapping_mul(1 << 32).wrapping_add(number as u64);
        let Scene { image, label_id, subject, rows } = self.sets.scene(seed)?;
        let images = vec![Arc::new(image)];
        let exchange = |row: &Record| Exchange::new(&row.query, &images, &row.answer, Some(row.combination));
        let exchanges = rows.iter().map(exchange).collect();
        Ok(Sample { id: format!("scene {seed}"), exchanges, images, label: Some(label_id), subject: Some(subject) })
    }
}

/// Rows of a JSON file with the pictures that they name.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    images: Option<ImageStore>,
    samples: Vec<Row>,
}

/// A sample without its pictures.
#[derive(Debug)]
struct Row {
    images: Vec<String>,
    exchanges: Vec<Exchange>,
    label: Option<usize>,
}

impl Rows {
    /// Rows with the fields of HoliSafe-Bench and an `answer`: all about one picture are one sample.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a row is damaged, breaks the format or has no answer.
    pub fn holisafe(path: &Path, images: &Path) -> Result<Self, DataError> {
        let mut places: BTreeMap<(String, usize), usize> = BTreeMap::new();
        let mut samples: Vec<Row> = Vec::new();
        let mut rows = JsonRows::<Record>::open(path)?;
        while let Some(record) = rows.next().transpose()? {
            let missing =
                || record.answer.trim().is_empty().then(|| "`answer` is missing: it is what is learned".to_owned());
            if let Some(reason) = record.problem().or_else(missing) {
                return Err(DataError::BadRecord { path: path.to_owned(), row: rows.row(), reason });
            }
            // Some pictures of HoliSafe-Bench have another label in another row.
            let label = record.image_safety_label;
            let place = *places.entry((record.image.clone(), label)).or_insert(samples.len());
            if place == samples.len() {
                samples.push(Row { images: vec![record.image.clone()], exchanges: vec![], label: Some(label) });
            }
            let messages = vec![message(Role::User, &format!("{IMAGE_PLACEHOLDER}{}", record.query), &mut 0)];
            samples[place].exchanges.push(Exchange {
                messages,
                answer: record.answer,
                combination: Some(record.combination),
            });
        }
        Self::new(path, Some(ImageStore::open(images)?), samples)
    }

    /// Rows in the format that LLaVA is trained from, with or without pictures. Each answer of a conversation is learned
    /// behind all that was said before it.
    ///
    /// # Errors
    ///
    /// As [`holisafe`](Self::holisafe).
    pub fn llava(path: &Path, images: Option<&Path>) -> Result<Self, DataError> {
        let mut samples = Vec::new();
        for record in LlavaReader::open(path)? {
            let record = record?;
            if let (None, Some(name)) = (images, record.image.first()) {
                return Err(DataError::NoImage { name: name.clone(), path: path.to_owned() });
            }
            let label = record.image_safety_label.filter(|_| record.image.len() == 1);
            samples.push(Row { exchanges: exchanges(&record), images: record.image, label });
        }
        Self::new(path, images.map(ImageStore::open).transpose()?, samples)
    }

    fn new(path: &Path, images: Option<ImageStore>, samples: Vec<Row>) -> Result<Self, DataError> {
        match samples.is_empty() {
            true => Err(DataError::BadFile { path: path.to_owned(), row: 0, reason: "it has no rows".to_owned() }),
            false => Ok(Self { path: path.to_owned(), images, samples }),
        }
    }

    fn picture(&self, name: &str) -> Result<Arc<RgbImage>, TrainError> {
        let Some(store) = &self.images else {
            return Err(DataError::NoImage { name: name.to_owned(), path: self.path.clone() }.into());
        };
        let image = decode_image(&store.read(name)?, &ImageLimits::default());
        image.map(Arc::new).map_err(|source| TrainError::Picture { path: store.path().join(name), source })
    }
}

impl Source for Rows {
    fn count(&self) -> Option<usize> {
        Some(self.samples.len())
    }

    fn sample(&self, number: usize) -> Result<Sample, TrainError> {
        let Row { images, exchanges, label } = &self.samples[number];
        let id = images.first().cloned().unwrap_or_else(|| format!("row {number} of {}", self.path.display()));
        let images = images.iter().map(|name| self.picture(name)).collect::<Result<_, _>>()?;
        Ok(Sample { id, images, exchanges: exchanges.clone(), label: *label, subject: None })
    }
}

/// One for each answer of a conversation.
fn exchanges(record: &LlavaRecord) -> Vec<Exchange> {
    let (mut said, mut shown, mut exchanges) = (Vec::new(), 0, Vec::new());
    for turn in &record.conversations {
        let role = match turn.from {
            Speaker::System => Role::System,
            Speaker::Human => Role::User,
            Speaker::Gpt => Role::Assistant,
        };
        if role == Role::Assistant {
            let combination = record.combination.filter(|_| exchanges.is_empty());
            exchanges.push(Exchange { messages: said.clone(), answer: turn.value.clone(), combination });
        }
        said.push(message(role, &turn.value, &mut shown));
    }
    exchanges
}

/// A turn whose placeholders have become images, which are counted on from `shown`. White space around a placeholder
/// belongs to the format, not to what was said.
fn message(role: Role, text: &str, shown: &mut usize) -> Message {
    let mut parts = Vec::new();
    for (nth, piece) in text.split(IMAGE_PLACEHOLDER).enumerate() {
        if nth > 0 {
            parts.push(Part::Image(*shown));
            *shown += 1;
        }
        let piece = if text.contains(IMAGE_PLACEHOLDER) { piece.trim_matches('\n') } else { piece };
        if !piece.is_empty() {
            parts.push(Part::Text(piece.to_owned()));
        }
    }
    Message { role, parts }
}
