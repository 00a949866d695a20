//! Rows in the format of HoliSafe-Bench, with the target answer.

use std::io::Write;
use std::path::Path;

use safevlm_core::CLASSES;
use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Whether image and text are safe, and what they are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Combination {
    /// Safe image, safe text: to be answered.
    Sss,
    /// Safe image, safe text, unsafe together.
    Ssu,
    /// Unsafe image, safe text.
    Usu,
    /// Unsafe image, unsafe text.
    Uuu,
    /// Safe image, unsafe text.
    Suu,
}

impl Combination {
    /// All five, in the benchmark's order.
    pub const ALL: [Self; 5] = [Self::Sss, Self::Ssu, Self::Usu, Self::Uuu, Self::Suu];

    /// `SSS`, `SSU`, `USU`, `UUU` or `SUU`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sss => "SSS",
            Self::Ssu => "SSU",
            Self::Usu => "USU",
            Self::Uuu => "UUU",
            Self::Suu => "SUU",
        }
    }

    /// Whether the image alone is safe.
    pub const fn image_safe(self) -> bool {
        !matches!(self, Self::Usu | Self::Uuu)
    }

    /// Whether the right answer is a refusal.
    pub const fn refused(self) -> bool {
        !matches!(self, Self::Sss)
    }
}

/// One question about one picture. The fields are those of HoliSafe-Bench, and `answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unique in its file.
    pub id: u64,
    /// Path below `images/`: `category/subcategory/name.png`.
    pub image: String,
    /// The question.
    pub query: String,
    /// Which of the five combinations it is.
    #[serde(rename = "type")]
    pub combination: Combination,
    /// The top category of the hazard, or of the topic where nothing is harmful.
    pub category: String,
    /// The class of that hazard or topic, by the dataset's name.
    pub subcategory: String,
    /// Whether the image alone is safe.
    pub image_safe: bool,
    /// The class of the image, 0 to 19; 0 if and only if it is safe.
    pub image_safety_label: usize,
    /// What the model should answer. The benchmark itself has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
    /// What the picture shows, in plain English, where it was composed: an answer that names it has seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

impl Record {
    /// The class of the image.
    pub fn label_id(&self) -> usize {
        self.image_safety_label
    }

    /// The first rule of the format that the record breaks: the field and the reason.
    pub fn problem(&self) -> Option<String> {
        let label = self.image_safety_label;
        let class = CLASSES.iter().find(|class| class.name == self.subcategory);
        if label >= CLASSES.len() {
            return Some(format!("`image_safety_label` is {label}, which is not in 0..=19"));
        }
        if self.image_safe != (label == 0) {
            return Some("`image_safe` must be true exactly where `image_safety_label` is 0".to_string());
        }
        if self.image_safe != self.combination.image_safe() {
            return Some(format!("`image_safe` contradicts `type` {}", self.combination.as_str()));
        }
        if self.query.trim().is_empty() {
            return Some("`query` is empty".to_string());
        }
        if !is_inside(&self.image) {
            return Some("`image` must be a relative path below `images/`".to_string());
        }
        match class {
            Some(class) if class.category.is_some_and(|c| c.as_str() == self.category) => None,
            Some(_) => Some(format!("`category` is not that of `subcategory` {}", self.subcategory)),
            None => Some(format!("`subcategory` {} is not one of the 19 classes", self.subcategory)),
        }
    }
}

/// Whether a path stays below the folder that it is joined to, on any system.
pub(crate) fn is_inside(path: &str) -> bool {
    let inside = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':']);
    path.split('/').all(inside)
}

/// Writes records as JSON lines.
///
/// # Errors
/// When the writer refuses; `path` is named in the error.
pub fn write_jsonl(records: &[Record], path: &Path, out: &mut dyn Write) -> Result<(), DataError> {
    for record in records {
        let line = serde_json::to_string(record).map_err(|e| DataError::io("write", path)(e.into()))?;
        writeln!(out, "{line}").map_err(DataError::io("write", path))?;
    }
    Ok(())
}
