//! The JSON files of a model folder.

use std::path::Path;

use serde_json::Value;

use crate::error::FamilyError;

/// The sizes of a model.
pub const CONFIG_FILE: &str = "config.json";

/// Larger than any real JSON file that is read here.
const LIMIT: u64 = 64 << 20;

/// Reads a JSON file of a model folder, but no more than 64 MiB of it.
///
/// # Errors
///
/// If it cannot be read, is larger, or is no JSON.
pub fn read_json(path: &Path) -> Result<Value, FamilyError> {
    let read = |source| FamilyError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.len() > LIMIT {
        return Err(read(std::io::Error::other("larger than 64 MiB")));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    serde_json::from_str(&text).map_err(|source| FamilyError::Json { path: path.to_owned(), source })
}

/// What `preprocessor_config.json`, or the newer `processor_config.json`, says about images; none where the
/// folder has neither.
///
/// # Errors
///
/// If the file cannot be read.
pub fn image_settings(dir: &Path) -> Result<Option<Value>, FamilyError> {
    let files = ["preprocessor_config.json", "processor_config.json"].map(|file| dir.join(file));
    files.iter().find(|path| path.is_file()).map(|path| read_json(path)).transpose()
}

/// End-of-turn ids: from `generation_config.json`, else from `config.json`, where newer tools write them into
/// `text_config`.
///
/// # Errors
///
/// If a file cannot be read.
pub fn eos_tokens(dir: &Path, config: &Value) -> Result<Vec<u32>, FamilyError> {
    let generation = dir.join("generation_config.json");
    let generation = if generation.is_file() { read_json(&generation)? } else { Value::Null };
    let places = [&generation, config, &config["text_config"]];
    let ids = places.into_iter().map(|place| match &place["eos_token_id"] {
        Value::Array(ids) => ids.iter().filter_map(Value::as_u64).collect(),
        id => id.as_u64().into_iter().collect::<Vec<_>>(),
    });
    let ids = ids.into_iter().find(|ids| !ids.is_empty()).unwrap_or_default();
    Ok(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect())
}
