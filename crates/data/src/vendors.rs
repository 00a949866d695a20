//! The pinned picture sets: where each comes from, under which licence, and in which split.

mod art;
mod packs;
mod raster;

pub(crate) use art::{Art, ArtSource};
pub(crate) use packs::read_pack;
pub(crate) use raster::Raster;

use std::fmt;
use std::str::FromStr;

use safevlm_weights::Source;
use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Which half of the pictures a scene is made of; no vendor is in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Pictures that training sees.
    Train,
    /// Pictures of vendors that training never sees.
    HeldOut,
}

impl Split {
    /// `train` or `held_out`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOut => "held_out",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "train" => Ok(Self::Train),
            "held_out" => Ok(Self::HeldOut),
            _ => Err(DataError::UnknownSplit { text: text.to_string() }),
        }
    }
}

/// How a package stores its pictures and names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `icons.json` with SVG bodies, named as Unicode names its emoji (`red-apple`), and where
    /// there is a `chars.json` also by code point.
    Iconify,
    /// `icons.json` with SVG bodies under Firefox OS's own names.
    Fxemoji,
    /// `icons.json` with one-colour SVG bodies under the game-icons names.
    GameIcons,
    /// One coloured SVG for each code point.
    OpenMoji,
    /// One WebP for each code point.
    WebP,
}

/// One picture set from a package registry.
#[derive(Debug, PartialEq, Eq)]
pub struct Vendor {
    /// A short name, for example `noto`.
    pub name: &'static str,
    /// The npm package.
    pub package: &'static str,
    /// Its exact version.
    pub version: &'static str,
    /// SHA-256 of the tarball that `npm pack` downloads.
    pub sha256: &'static str,
    /// SPDX identifier of the art's licence.
    pub licence: &'static str,
    /// Whom to credit.
    pub author: &'static str,
    /// Which split may use it.
    pub split: Split,
    /// How to read it.
    pub layout: Layout,
    /// Whether U+1F52B is drawn as a firearm, rather than as a water pistol.
    pub real_pistol: bool,
}

impl Vendor {
    /// The package as a [`Source`].
    pub fn source(&self) -> Source {
        Source::Npm { name: self.package.to_string(), version: self.version.to_string() }
    }
}

/// Every picture set, training vendors first.
pub static VENDORS: [Vendor; 10] = [
    Vendor {
        name: "fluent-emoji-flat",
        package: "@iconify-json/fluent-emoji-flat",
        version: "1.2.6",
        sha256: "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        licence: "MIT",
        author: "Microsoft Corporation (Fluent Emoji)",
        split: Split::Train,
        layout: Layout::Iconify,
        real_pistol: false,
    },
    Vendor {
        name: "fluent-emoji-3d",
        package: "@lobehub/fluent-emoji-3d",
        version: "1.1.0",
        sha256: "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        licence: "MIT",
        author: "Microsoft Corporation (Fluent Emoji), packed by LobeHub",
        split: Split::Train,
        layout: Layout::WebP,
        real_pistol: false,
    },
    Vendor {
        name: "noto",
        package: "@iconify-json/noto",
        version: "1.2.9",
        sha256: "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        licence: "Apache-2.0",
        author: "Google Inc (Noto Emoji)",
        split: Split::Train,
        layout: Layout::Iconify,
        real_pistol: false,
    },
    Vendor {
        name: "noto-v1",
        package: "@iconify-json/noto-v1",
        version: "1.2.5",
        sha256: "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
        licence: "Apache-2.0",
        author: "Google Inc (Noto Emoji, first design)",
        split: Split::Train,
        layout: Layout::Iconify,
        real_pistol: false,
    },
    Vendor {
        name: "twemoji",
        package: "@iconify-json/twemoji",
        version: "1.2.5",
        sha256: "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        licence: "CC-BY-4.0",
        author: "Twitter (Twemoji)",
        split: Split::Train,
        layout: Layout::Iconify,
        real_pistol: false,
    },
    Vendor {
        name: "streamline-emojis",
        package: "@iconify-json/streamline-emojis",
        version: "1.2.4",
        sha256: "5dac87c876b322500989828c5823143e0100d78881627a2e4081a4b897cbfdbc",
        licence: "CC-BY-4.0",
        author: "Streamline",
        split: Split::Train,
        layout: Layout::Iconify,
        real_pistol: false,
    },
    Vendor {
        name: "fxemoji",
        package: "@iconify-json/fxemoji",
        version: "1.2.2",
        sha256: "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        licence: "Apache-2.0",
        author: "Mozilla (Firefox OS Emoji)",
        split: Split::Train,
        layout: Layout::Fxemoji,
        real_pistol: true,
    },
    Vendor {
        name: "game-icons",
        package: "@iconify-json/game-icons",
        version: "1.2.4",
        sha256: "f5758efb34d91c4f50b941f355f16ee73938625e5996fabc25171288404460a4",
        licence: "CC-BY-3.0",
        author: "Lorc, Delapouite and the other authors of game-icons.net",
        split: Split::Train,
        layout: Layout::GameIcons,
        real_pistol: true,
    },
    Vendor {
        name: "openmoji",
        package: "openmoji",
        version: "17.0.0",
        sha256: "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
        licence: "CC-BY-SA-4.0",
        author: "OpenMoji, the open-source emoji and icon project of HfG Schwäbisch Gmünd",
        split: Split::HeldOut,
        layout: Layout::OpenMoji,
        real_pistol: true,
    },
    Vendor {
        name: "emojione",
        package: "@iconify-json/emojione",
        version: "1.2.3",
        sha256: "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
        licence: "CC-BY-4.0",
        author: "EmojiOne / EmojiTwo",
        split: Split::HeldOut,
        layout: Layout::Iconify,
        real_pistol: true,
    },
];

/// The vendors of one split.
pub fn vendors(split: Split) -> impl Iterator<Item = &'static Vendor> {
    VENDORS.iter().filter(move |vendor| vendor.split == split)
}

/// Not a package: the maker of the plain shapes that stand in for pictures in tests.
pub(crate) static STAND_IN: Vendor = Vendor {
    name: "stand-in",
    package: "",
    version: "",
    sha256: "",
    licence: "MIT OR Apache-2.0",
    author: "SafeVLM",
    split: Split::Train,
    layout: Layout::Iconify,
    real_pistol: true,
};
