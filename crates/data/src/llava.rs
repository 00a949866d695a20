//! Rows in the format that LLaVA is trained from, with HoliSafe's labels where they have them.

use std::path::{Path, PathBuf};

use safevlm_core::CLASSES;
use serde::{Deserialize, Deserializer};

use crate::error::DataError;
use crate::json_rows::JsonRows;
use crate::record::{Combination, is_inside};

/// What stands for an image in a turn.
pub const IMAGE_PLACEHOLDER: &str = "<image>";

/// A conversation, with or without images, to train on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LlavaRecord {
    /// Unique in its file; numbers are taken as text.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
    /// Paths below the folder of images; none for text alone.
    #[serde(default, deserialize_with = "none_one_or_many")]
    pub image: Vec<String>,
    /// The turns.
    pub conversations: Vec<Turn>,
    /// Which of the five combinations the first question is.
    #[serde(default, rename = "type")]
    pub combination: Option<Combination>,
    /// The class of the image, 0 to 19; rows without one teach the guard nothing.
    #[serde(default)]
    pub image_safety_label: Option<usize>,
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Turn {
    /// Who.
    pub from: Speaker,
    /// What, each image written as [`IMAGE_PLACEHOLDER`].
    pub value: String,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Instructions before the conversation.
    System,
    /// The user.
    #[serde(alias = "user")]
    Human,
    /// The model.
    #[serde(alias = "assistant")]
    Gpt,
}

impl LlavaRecord {
    /// The first rule of the format that the record breaks: the field and the reason.
    pub fn problem(&self) -> Option<String> {
        let turns = match self.conversations.as_slice() {
            [Turn { from: Speaker::System, .. }, rest @ ..] => rest,
            all => all,
        };
        let expected = |nth: usize| if nth.is_multiple_of(2) { Speaker::Human } else { Speaker::Gpt };
        if turns.is_empty() || turns.len() % 2 == 1 {
            return Some("`conversations` must end with an answer to a question".to_owned());
        }
        if turns.iter().enumerate().any(|(nth, turn)| turn.from != expected(nth)) {
            return Some("`conversations` must go back and forth between human and gpt".to_owned());
        }
        let placeholders: usize = turns.iter().map(|turn| turn.value.matches(IMAGE_PLACEHOLDER).count()).sum();
        if placeholders != self.image.len() {
            let images = self.image.len();
            return Some(format!("`conversations` has {placeholders} `{IMAGE_PLACEHOLDER}` for {images} images"));
        }
        if !self.image.iter().all(|image| is_inside(image)) {
            return Some("`image` must be a relative path below the folder of images".to_owned());
        }
        let label = self.image_safety_label?;
        if label >= CLASSES.len() {
            return Some(format!("`image_safety_label` is {label}, which is not in 0..=19"));
        }
        match self.combination {
            Some(combination) if combination.image_safe() != (label == 0) => {
                Some(format!("`image_safety_label` {label} contradicts `type` {}", combination.as_str()))
            }
            _ => None,
        }
    }
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`id` must be a text or a whole number")]
    enum Id {
        Text(String),
        Number(i64),
    }
    Ok(match Id::deserialize(deserializer)? {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    })
}

fn none_one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`image` must be a path or a list of paths")]
    enum Images {
        None(()),
        One(String),
        Many(Vec<String>),
    }
    Ok(match Images::deserialize(deserializer)? {
        Images::None(()) => Vec::new(),
        Images::One(path) => vec![path],
        Images::Many(paths) => paths,
    })
}

/// Reads a file of such rows, JSON lines or a JSON array, one after another, as
/// [`BenchReader`](crate::BenchReader) does those of a benchmark.
#[derive(Debug)]
pub struct LlavaReader {
    path: PathBuf,
    rows: JsonRows<LlavaRecord>,
}

impl LlavaReader {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Ok(Self { path: path.to_path_buf(), rows: JsonRows::open(path)? })
    }
}

impl Iterator for LlavaReader {
    type Item = Result<LlavaRecord, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.rows.next()?;
        Some(read.and_then(|record| match record.problem() {
            Some(reason) => Err(DataError::BadRecord { path: self.path.clone(), row: self.rows.row(), reason }),
            None => Ok(record),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LlavaRecord, String> {
        let record: LlavaRecord = serde_json::from_str(text).map_err(|error| error.to_string())?;
        record.problem().map_or(Ok(record), Err)
    }

    #[test]
    fn rows_with_one_several_and_no_images_are_read() {
        let one = r#"{"id": 3, "image": "a/b.png", "type": "USU", "image_safety_label": 16, "conversations":
            [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A knife."}]}"#;
        let record = parse(one).unwrap();
        assert_eq!((record.id.as_str(), record.image_safety_label), ("3", Some(16)));
        let two = r#"{"id": "x", "image": ["a.png", "b.png"], "conversations": [{"from": "system", "value": "Be kind."},
            {"from": "user", "value": "<image><image> Which?"}, {"from": "assistant", "value": "The first."}]}"#;
        assert_eq!(parse(two).unwrap().image, ["a.png", "b.png"]);
        let text = r#"{"id": "y", "image": null, "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hi"}]}"#;
        assert!(parse(text).unwrap().image.is_empty());
    }

    #[test]
    fn what_breaks_the_format_is_named() {
        let row = |image: &str, more: &str, turns: &str| {
            format!(r#"{{"id": 1, "image": {image}{more}, "conversations": [{turns}]}}"#)
        };
        let question = r#"{"from": "human", "value": "<image>?"}"#;
        let answer = r#"{"from": "gpt", "value": "!"}"#;
        let both = format!("{question}, {answer}");
        for (text, reason) in [
            (row("\"a.png\"", "", question), "must end with an answer"),
            (row("\"a.png\"", "", ""), "must end with an answer"),
            (row("\"a.png\"", "", &format!("{answer}, {question}")), "back and forth"),
            (row("[]", "", &both), "1 `<image>` for 0 images"),
            (row("\"../a.png\"", "", &both), "relative path"),
            (row("\"a.png\"", ", \"image_safety_label\": 20", &both), "not in 0..=19"),
            (row("\"a.png\"", ", \"image_safety_label\": 0, \"type\": \"UUU\"", &both), "contradicts"),
            (row("7", "", &both), "a path or a list"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
