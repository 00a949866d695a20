//! The picture sets of one split, and the scenes that a seed makes of them.

use std::collections::HashMap;

use image::{RgbImage, RgbaImage};
use indicatif::{ProgressBar, ProgressStyle};
use safevlm_core::CLASSES;
use safevlm_weights::{Cache, Fetcher};

use crate::compose::{SCENE_SIDE, Stage, harmless, hazardous};
use crate::dice::Dice;
use crate::error::DataError;
use crate::labels::{Symbol, find, symbols};
use crate::record::Record;
use crate::situations;
use crate::vendors::{Art, ArtSource, Raster, Split, Vendor, read_pack, vendors};

/// In how many of 100 scenes nothing is harmful.
const SAFE_PERCENT: usize = 43;

/// One vendor's picture of one concept.
#[derive(Debug, Clone)]
pub struct Sprite {
    /// The vendor's short name.
    pub vendor: &'static str,
    /// Plain English with its article.
    pub name: &'static str,
    /// The concept's key.
    pub concept: &'static str,
    /// The picture, trimmed to what can be seen.
    pub rgba: RgbaImage,
}

/// A composed picture with everything that is asked and answered about it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// `SCENE_SIDE` square.
    pub image: RgbImage,
    /// The class of the picture, 0 for a safe one.
    pub label_id: usize,
    /// What it shows, in plain English.
    pub subject: String,
    /// One to three rows; each row's `image` names the same picture.
    pub rows: Vec<Record>,
}

/// The pictures of one split: for each symbol, for each vendor that has it, its designs.
#[derive(Debug)]
pub(crate) struct Library {
    split: Split,
    pictures: HashMap<&'static str, Vec<Vec<Art>>>,
}

/// The picture sets of one split.
#[derive(Debug)]
pub struct PictureSets {
    library: Library,
}

impl PictureSets {
    /// Fetches, verifies and reads the picture sets of `split`. Pictures are drawn when a scene
    /// first needs them.
    ///
    /// # Errors
    /// When a package cannot be fetched or is not the pinned one, or does not hold what it should.
    pub fn load(cache: &Cache, split: Split, progress: bool) -> Result<Self, DataError> {
        let fetcher = Fetcher::new(cache.clone()).progress(progress);
        let wanted: Vec<&'static Symbol> = symbols().collect();
        let mut pictures: HashMap<&'static str, Vec<Vec<Art>>> = HashMap::new();
        let bar = bar(progress, vendors(split).count() as u64);
        for vendor in vendors(split) {
            bar.set_message(vendor.name);
            let fetch = |source| DataError::Fetch { package: vendor.package, source };
            let archive = fetcher.fetch_package(&vendor.source(), Some(vendor.sha256)).map_err(fetch)?;
            let read = read_pack(vendor, &archive, &wanted)?;
            for (symbol, designs) in wanted.iter().zip(read) {
                if !designs.is_empty() {
                    pictures.entry(symbol.key()).or_default().push(designs);
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Self { library: Library { split, pictures } })
    }

    /// A stand-in for tests and dry runs without a network: every symbol is a plain shape whose
    /// form and colour follow from its key.
    pub fn stand_in(split: Split) -> Self {
        let vendor = &crate::vendors::STAND_IN;
        let art = |(place, symbol): (usize, &'static Symbol)| {
            let svg = ArtSource::Svg(stand_in_svg(place));
            (symbol.key(), vec![vec![Art::new(vendor, 0, false, svg)]])
        };
        Self { library: Library { split, pictures: symbols().enumerate().map(art).collect() } }
    }

    /// The split.
    pub fn split(&self) -> Split {
        self.library.split
    }

    /// The vendors that have a picture of this concept.
    pub fn vendors_of(&self, concept: &str) -> Vec<&'static Vendor> {
        let designs = self.library.pictures.get(concept);
        designs.into_iter().flatten().filter_map(|designs| Some(designs.first()?.vendor)).collect()
    }

    /// Every picture of a concept; none where no vendor has it.
    ///
    /// # Errors
    /// When a picture cannot be drawn.
    pub fn sprites(&self, concept: &str) -> Result<Vec<Sprite>, DataError> {
        let Some((_, symbol)) = find(concept) else { return Ok(Vec::new()) };
        let designs = self.library.pictures.get(concept).into_iter().flatten().flatten();
        designs.map(|art| sprite(symbol, art)).collect()
    }

    /// The scene of that seed: the same bytes and rows for the same split and seed.
    ///
    /// # Errors
    /// When a picture cannot be drawn.
    pub fn scene(&self, seed: u64) -> Result<Scene, DataError> {
        let mut dice = Dice::new(self.library.split.as_str(), seed);
        let label_id = match dice.chance(SAFE_PERCENT) {
            true => 0,
            false => 1 + dice.below(CLASSES.len() - 1),
        };
        let mut stage = Stage::new(&self.library, dice, SCENE_SIDE)?;
        let subject = match label_id {
            0 => harmless(&mut stage)?,
            _ => hazardous(&mut stage, label_id)?,
        };
        let (image, mut dice) = stage.into_parts();
        let rows = situations::rows(&subject, self.library.split, seed, &mut dice);
        Ok(Scene { image, label_id: subject.label_id, subject: subject.text, rows })
    }

    /// The scenes of the seeds `first_seed`, `first_seed + 1`, ..., each composed when it is asked for.
    pub fn scenes(&self, first_seed: u64, count: usize) -> impl Iterator<Item = Result<Scene, DataError>> {
        (0..count as u64).map(move |index| self.scene(first_seed.wrapping_add(index)))
    }
}

impl Library {
    pub(crate) fn split(&self) -> Split {
        self.split
    }

    pub(crate) fn has(&self, symbol: &Symbol) -> bool {
        self.pictures.contains_key(symbol.key())
    }

    /// A picture of the symbol: a vendor by chance, then one of its designs.
    pub(crate) fn art(&self, symbol: &'static Symbol, dice: &mut Dice) -> Result<&Art, DataError> {
        let vendors = self.pictures.get(symbol.key()).map_or(&[][..], Vec::as_slice);
        let designs = dice.pick(vendors).map_or(&[][..], Vec::as_slice);
        dice.pick(designs).ok_or_else(|| self.lacks(symbol.key()))
    }

    /// A picture of the symbol in a skin tone, if a vendor has one.
    pub(crate) fn toned_art(&self, symbol: &Symbol, tone: u8, dice: &mut Dice) -> Option<&Art> {
        let designs = self.pictures.get(symbol.key())?.iter().flatten();
        let toned: Vec<&Art> = designs.filter(|art| art.tone == tone).collect();
        dice.pick(&toned).copied()
    }

    /// The error of a symbol without a picture.
    pub(crate) fn lacks(&self, key: &str) -> DataError {
        DataError::NoPicture { split: self.split.as_str(), symbol: key.to_string() }
    }
}

/// One picture with straight alpha.
fn sprite(symbol: &'static Symbol, art: &Art) -> Result<Sprite, DataError> {
    let bad = |reason| DataError::BadPicture { vendor: art.vendor.name, symbol: symbol.key(), reason };
    let Raster { width, height, mut rgba } = art.raster().map_err(bad)?;
    for pixel in rgba.chunks_exact_mut(4) {
        let alpha = u32::from(pixel[3]).max(1);
        for channel in &mut pixel[..3] {
            *channel = ((u32::from(*channel) * 255 + alpha / 2) / alpha).min(255) as u8;
        }
    }
    let rgba =
        RgbaImage::from_raw(width, height, rgba).ok_or_else(|| bad("its size does not fit its pixels".to_string()))?;
    Ok(Sprite { vendor: art.vendor.name, name: symbol.name, concept: symbol.key(), rgba })
}

/// A shape of its own for the symbol at that place in the tables.
fn stand_in_svg(place: usize) -> String {
    let colour = place * 0x9E37 % 0xFFFFFF;
    let (sides, turn) = (place % 5, place / 5 % 7);
    let shape = match sides {
        0 => "<circle cx='50' cy='50' r='45'/>".to_string(),
        1 => format!("<rect x='10' y='{}' width='80' height='{}'/>", 5 * turn, 90 - 5 * turn),
        2 => format!("<path d='M50 5 L95 90 L{} 95 Z'/>", 5 + 8 * turn),
        3 => format!("<path d='M{} 5 L95 50 L50 95 L5 50 Z'/>", 20 + 8 * turn),
        _ => "<path d='M35 5h30v30h30v30h-30v30h-30v-30h-30v-30h30z'/>".to_string(),
    };
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='100' height='100'><g fill='#{colour:06x}'>{shape}</g></svg>"
    )
}

/// A progress bar over vendors, shown on a terminal only.
fn bar(progress: bool, length: u64) -> ProgressBar {
    let bar = if progress { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("reading pictures [{wide_bar}] {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}
