//! Composes scenes: a background, symbols large enough to be recognised, clutter and words.
//!
//! Everything from a drawn picture to the finished scene is integer arithmetic, and chance comes
//! from a seeded ChaCha stream: the same pictures and seed give the same bytes on every machine.

mod backdrop;
mod canvas;
mod hatred;
mod hazards;
mod letters;
mod safe;
mod shapes;
mod stage;

pub(crate) use canvas::{Canvas, Placement};
pub(crate) use hazards::hazardous;
pub(crate) use safe::harmless;
pub(crate) use stage::Stage;

use crate::labels::{Group, Symbol};

/// The side of a scene in pixels; EfficientNet-Lite0 and most encoders of its size take 224.
pub const SCENE_SIDE: u32 = 224;

/// What a finished scene shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The class of the picture.
    pub(crate) label_id: usize,
    /// Plain English, for example `a church under a prohibition sign`.
    pub(crate) text: String,
    /// The group of a safe picture.
    pub(crate) group: Option<Group>,
    /// The symbol, where the picture shows a single one that questions can be about.
    pub(crate) symbol: Option<&'static Symbol>,
}
