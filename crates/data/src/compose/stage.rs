//! A scene in the making: the canvas, the dice and the pictures at hand.

use image::RgbImage;

use super::backdrop::{self, Tone};
use super::{Canvas, Placement};
use crate::dice::Dice;
use crate::error::DataError;
use crate::labels::{Group, Role, Symbol, find};
use crate::sets::Library;
use crate::vendors::{Art, Raster, Split};

/// Strong and dark colours for one-colour pictures on a pale ground.
const INKS: [[u8; 3]; 10] = [
    [20, 20, 24],
    [60, 60, 66],
    [130, 25, 25],
    [190, 40, 30],
    [25, 70, 130],
    [20, 100, 70],
    [95, 40, 120],
    [120, 75, 30],
    [30, 30, 90],
    [200, 95, 10],
];
/// Words that belong to any picture.
const WORDS: [&str; 8] = ["HELLO", "TODAY", "PHOTO 12", "SUNDAY", "LOOK", "PAGE 7", "NEW", "MY PICTURE"];

pub(crate) struct Stage<'a> {
    library: &'a Library,
    pub(super) dice: Dice,
    pub(super) canvas: Canvas,
    /// Whether what is drawn next stands on a pale ground.
    pale: bool,
}

impl<'a> Stage<'a> {
    /// A stage with its background and some clutter at the edges.
    pub(crate) fn new(library: &'a Library, mut dice: Dice, side: u32) -> Result<Self, DataError> {
        let (canvas, tone) = backdrop::paint(&mut dice, side);
        let mut stage = Self { library, dice, canvas, pale: tone == Tone::Light };
        let plated = match tone {
            Tone::Light => 15,
            Tone::Middle => 60,
            Tone::Dark => 75,
        };
        if stage.dice.chance(plated) {
            stage.plate();
        }
        stage.clutter()?;
        Ok(stage)
    }

    /// The side of the scene in pixels.
    pub(super) fn side(&self) -> i32 {
        self.canvas.side()
    }

    /// `percent` of the side.
    pub(super) fn share(&self, percent: i32) -> i32 {
        self.side() * percent / 100
    }

    /// Between `low` and `high` percent of the side.
    pub(super) fn some_share(&mut self, low: i32, high: i32) -> i32 {
        let percent = self.dice.between(low, high);
        self.share(percent)
    }

    pub(crate) fn into_parts(self) -> (RgbImage, Dice) {
        (self.canvas.into_image(), self.dice)
    }

    /// A large pale sheet or disc in the middle, so that dark pictures stand out.
    fn plate(&mut self) {
        let colour = backdrop::colour(&mut self.dice, Tone::Light);
        let middle = self.share(50);
        if self.dice.chance(50) {
            let radius = self.some_share(44, 56);
            self.canvas.disc([middle; 2], radius, colour);
        } else {
            let half = self.some_share(40, 47);
            self.canvas.panel([middle; 2], [half; 2], self.side() / 20, colour);
        }
        self.pale = true;
    }

    /// Up to three small, safe things near the edges.
    fn clutter(&mut self) -> Result<(), DataError> {
        const GROUPS: [Group; 5] = [Group::Plant, Group::Food, Group::Toy, Group::Music, Group::Clothing];
        let count = [0, 0, 1, 1, 2, 3][self.dice.below(6)];
        for _ in 0..count {
            let Some(symbol) = self.choose_safe(&GROUPS) else { continue };
            let side = self.some_share(13, 21);
            let along = self.dice.between(side / 2, self.side() - side / 2);
            let edge = self.dice.between(side * 2 / 5, side * 3 / 5);
            let (x, y) = match self.dice.below(4) {
                0 => (along, edge),
                1 => (along, self.side() - edge),
                2 => (edge, along),
                _ => (self.side() - edge, along),
            };
            let turn = self.dice.between(-12, 12);
            self.place(symbol, Placement::at(x, y, side).turned(turn))?;
        }
        Ok(())
    }

    /// Some words on a strip at the top or the bottom, in `percent` of 100 cases.
    pub(super) fn words(&mut self, percent: usize, words: &[&str]) {
        if !self.dice.chance(percent) {
            return;
        }
        let Some(text) = self.dice.pick(words).copied() else { return };
        let top = self.dice.chance(50);
        let y = if top { self.share(7) } else { self.share(93) };
        let (paper, ink) = match self.dice.below(3) {
            0 => ([255; 3], [20, 20, 20]),
            1 => ([20, 20, 20], [255; 3]),
            _ => ([250, 240, 180], [120, 20, 20]),
        };
        let dot = (self.side() / 110).max(1);
        let half = [(6 * dot * text.len() as i32) / 2 + 3 * dot, 6 * dot];
        let middle = self.share(50);
        self.canvas.panel([middle, y], half, 2 * dot, paper);
        self.canvas.write([middle, y], dot, text, ink);
    }

    /// [`Stage::words`] that belong to any picture.
    pub(super) fn small_talk(&mut self) {
        self.words(12, &WORDS);
    }

    /// A symbol of the family of which this split has a picture.
    pub(super) fn choose(&mut self, family: &'static [Symbol]) -> Result<&'static Symbol, DataError> {
        let there: Vec<&'static Symbol> = family.iter().filter(|symbol| self.library.has(symbol)).collect();
        self.dice.pick(&there).copied().ok_or_else(|| self.library.lacks(family.first().map_or("", Symbol::key)))
    }

    /// A safe symbol of one of these groups; `None` where the split has none.
    pub(super) fn choose_safe(&mut self, groups: &[Group]) -> Option<&'static Symbol> {
        let group = *self.dice.pick(groups)?;
        let there: Vec<&'static Symbol> = crate::labels::FAMILIES
            .iter()
            .filter(|(role, _)| *role == Role::Safe(group))
            .flat_map(|(_, family)| family.iter())
            .filter(|symbol| self.library.has(symbol))
            .collect();
        self.dice.pick(&there).copied()
    }

    /// The symbol of that key.
    pub(super) fn named(&self, key: &str) -> Result<&'static Symbol, DataError> {
        let found = find(key).map(|(_, symbol)| symbol).filter(|symbol| self.library.has(symbol));
        found.ok_or_else(|| self.library.lacks(key))
    }

    /// One of the symbols of those keys of which this split has a picture.
    pub(super) fn one_of(&mut self, keys: &[&'static str]) -> Result<&'static Symbol, DataError> {
        let there: Vec<&'static Symbol> = keys.iter().filter_map(|key| self.named(key).ok()).collect();
        let first = keys.first().copied().unwrap_or_default();
        self.dice.pick(&there).copied().ok_or_else(|| self.library.lacks(first))
    }

    /// Whether the split has a picture of the symbol of that key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.named(key).is_ok()
    }

    /// Draws a vendor's picture of `symbol`.
    pub(super) fn place(&mut self, symbol: &'static Symbol, placement: Placement) -> Result<(), DataError> {
        let art = self.library.art(symbol, &mut self.dice)?;
        self.draw(symbol, art, placement)
    }

    /// Draws `symbol` in one skin tone, 1 (light) to 5 (dark), where a vendor has it.
    pub(super) fn place_toned(
        &mut self,
        symbol: &'static Symbol,
        tone: u8,
        placement: Placement,
    ) -> Result<(), DataError> {
        match self.library.toned_art(symbol, tone, &mut self.dice) {
            Some(art) => self.draw(symbol, art, placement),
            None => self.place(symbol, placement),
        }
    }

    fn draw(&mut self, symbol: &'static Symbol, art: &Art, placement: Placement) -> Result<(), DataError> {
        let reason = |reason| DataError::BadPicture { vendor: art.vendor.name, symbol: symbol.key(), reason };
        let raster = art.raster().map_err(reason)?;
        let raster = self.styled(raster, art.mono);
        self.canvas.draw(&raster, placement);
        Ok(())
    }

    /// Colours a one-colour picture; in training also varies colours and outlines, because a
    /// vendor that was never seen has its own.
    fn styled(&mut self, mut raster: Raster, mono: bool) -> Raster {
        if mono {
            let ink = self.dice.pick(&INKS).copied().unwrap_or_default();
            let ink = if self.pale { ink } else { ink.map(|channel| 255 - channel / 3) };
            raster = raster.tinted(ink);
        }
        if self.library.split() == Split::HeldOut {
            return raster;
        }
        if self.dice.chance(50) {
            let gains = [0; 3].map(|_| self.dice.between(214, 296));
            let grey = if self.dice.chance(25) { self.dice.between(40, 200) } else { 0 };
            raster = raster.regraded(gains, grey);
        }
        if self.dice.chance(25) {
            let colour = if self.dice.chance(70) { [25, 22, 22] } else { [255; 3] };
            raster = raster.rimmed(self.dice.between(2, 5) as u32, colour);
        }
        raster
    }

    /// A place for the one subject of a scene: 45 to 90 percent of the side, mostly upright.
    pub(super) fn spotlight(&mut self, mirrors: bool) -> Placement {
        let side = self.some_share(45, 90);
        let room = (self.side() - side) / 2;
        let x = self.share(50) + self.dice.between(-room, room);
        let y = self.share(50) + self.dice.between(-room, room);
        let turn = if self.dice.chance(50) { 0 } else { self.dice.between(-11, 11) };
        let mirrored = self.dice.chance(50) && mirrors;
        Placement::at(x, y, side).turned(turn).mirrored(mirrored)
    }

    /// A place around `(x, y)`, given in percent of the side, for a part of that size in percent.
    pub(super) fn spot(&mut self, x: i32, y: i32, size: i32) -> Placement {
        let mut near = |percent: i32| percent + self.dice.between(-4, 4);
        let (x, y, size) = (near(x), near(y), near(size));
        let turn = self.dice.between(-5, 5);
        Placement::at(self.share(x), self.share(y), self.share(size)).turned(turn)
    }
}
