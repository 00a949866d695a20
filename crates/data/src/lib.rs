//! HoliSafe-style records and a symbolic stand-in for HoliSafe's gated pictures: openly licensed
//! symbols composed into labelled scenes, with questions and target answers.
//!
//! ```no_run
//! use safevlm_data::{PictureSets, Split};
//! use safevlm_weights::Cache;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sets = PictureSets::load(&Cache::open(None)?, Split::Train, true)?;
//! let scene = sets.scene(7)?;
//! println!("{}: {}", scene.subject, scene.rows[0].query);
//! # Ok(())
//! # }
//! ```

mod bench;
mod check;
mod compose;
mod dice;
mod error;
mod folder;
mod images;
mod journal;
mod json_rows;
pub mod labels;
mod llava;
mod parquet_rows;
mod record;
mod sets;
mod situations;
mod vendors;
mod whole;

pub use bench::{BenchReader, BenchRow};
pub use check::{Check, CheckOptions, Finding, RowFormat, check};
pub use compose::SCENE_SIDE;
pub use error::DataError;
pub use folder::{BENCH_FILE, Summary, compose_to_folder};
pub use images::{ImageStore, TarImages};
pub use journal::Journal;
pub use json_rows::JsonRows;
pub use llava::{IMAGE_PLACEHOLDER, LlavaReader, LlavaRecord, Speaker, Turn};
pub use record::{Combination, Record, write_jsonl};
pub use sets::{PictureSets, Scene, Sprite};
pub use vendors::{Layout, Split, VENDORS, Vendor, vendors};
pub use whole::write_whole;
