//! Which of a source's files make up a model.

use std::path::Path;

use crate::error::WeightsError;
use crate::safetensors::{INDEX_FILE, SINGLE_FILE};

/// The weights of a source, by format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Weights {
    /// One GGUF file.
    Gguf(String),
    /// One safetensors file.
    Safetensors(String),
    /// Safetensors shards with their index.
    SafetensorsShards,
    /// A PyTorch state dict, or its shards.
    Pytorch(Vec<String>),
}

/// The formats that are looked for, the preferred one first.
const FORMATS: [&[&str]; 3] = [&["safetensors"], &["gguf"], &["pth", "pt", "bin"]];

/// Finds the weights among the file names of a source called `source`. Names with folders are
/// considered only where `deep`, as in a package.
pub(crate) fn weights(source: &str, names: &[String], deep: bool) -> Result<Weights, WeightsError> {
    let extension = |name: &String| Path::new(name).extension()?.to_str().map(str::to_string);
    let usable = |name: &&String| deep || !name.contains('/');
    if names.iter().any(|name| name == INDEX_FILE) {
        return Ok(Weights::SafetensorsShards);
    }
    if names.iter().any(|name| name == SINGLE_FILE) {
        return Ok(Weights::Safetensors(SINGLE_FILE.to_string()));
    }
    for (number, format) in FORMATS.iter().enumerate() {
        let mut found: Vec<String> = names
            .iter()
            .filter(usable)
            .filter(|name| extension(name).is_some_and(|e| format.contains(&e.as_str())))
            .cloned()
            .collect();
        found.sort();
        let is_shard = |name: &String| name.starts_with("pytorch_model-") && !deep;
        match found.as_slice() {
            [] => {}
            [_] if number == 0 => return Ok(Weights::Safetensors(found.remove(0))),
            [_] if number == 1 => return Ok(Weights::Gguf(found.remove(0))),
            [_] => return Ok(Weights::Pytorch(found)),
            shards if number == 2 && shards.iter().any(is_shard) => {
                found.retain(is_shard);
                return Ok(Weights::Pytorch(found));
            }
            _ => {
                return Err(WeightsError::BadSource {
                    text: source.to_string(),
                    reason: format!(
                        "it holds several checkpoints ({}): fetch one of them and give its path",
                        found.join(", ")
                    ),
                });
            }
        }
    }
    Err(WeightsError::BadSource {
        text: source.to_string(),
        reason: "it holds no safetensors, GGUF or PyTorch checkpoint".to_string(),
    })
}

/// Whether a file belongs beside the weights: configuration, tokenizer, template, licence.
pub(crate) fn is_companion(name: &str) -> bool {
    let is_index = name.ends_with(".index.json") || name == crate::folder::MANIFEST_FILE;
    let companion = [".json", ".jinja"].iter().any(|end| name.ends_with(end))
        || ["merges.txt", "vocab.txt", "tokenizer.model"].contains(&name)
        || ["LICENSE", "LICENCE", "NOTICE"].iter().any(|begin| name.starts_with(begin));
    companion && !is_index && !name.contains('/') && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &[&str], deep: bool) -> Result<Weights, WeightsError> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        weights("test", &names, deep)
    }

    #[test]
    fn the_safest_format_is_preferred() {
        let all = ["config.json", "model.safetensors", "a.gguf", "pytorch_model.bin"];
        let single = Weights::Safetensors("model.safetensors".to_string());
        assert_eq!(find(&all, false).unwrap(), single);
        let sharded = [INDEX_FILE, "model-00001-of-00002.safetensors", "x.bin"];
        assert_eq!(find(&sharded, false).unwrap(), Weights::SafetensorsShards);
        let gguf = find(&["p/a.gguf", "p/b.bin"], true).unwrap();
        assert_eq!(gguf, Weights::Gguf("p/a.gguf".to_string()));
        let shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
        let expected = Weights::Pytorch(shards.map(str::to_string).to_vec());
        assert_eq!(find(&[shards[1], shards[0], "training_args.bin"], false).unwrap(), expected);
    }

    #[test]
    fn nothing_and_too_much_are_told_apart() {
        let nothing = find(&["README.md", "sub/a.gguf"], false).unwrap_err().to_string();
        assert!(nothing.contains("holds no"), "{nothing}");
        let several = find(&["a.gguf", "b.gguf"], false).unwrap_err().to_string();
        assert!(several.contains("a.gguf, b.gguf"), "{several}");
    }

    #[test]
    fn companions_are_configuration_and_licence_only() {
        for name in ["config.json", "chat_template.jinja", "merges.txt", "LICENSE"] {
            assert!(is_companion(name), "{name}");
        }
        for name in [INDEX_FILE, "safevlm.json", "README.md", "x/config.json", ".a.json"] {
            assert!(!is_companion(name), "{name}");
        }
    }
}
