//! A model folder with an adapter merged in, as a plain checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dtype::FloatDtype;
use crate::error::WeightsError;
use crate::folder::{MANIFEST_FILE, ModelManifest, StagedFolder};
use crate::manifest::FileRecord;
use crate::peft::{ADAPTER_CONFIG, PeftAdapter};
use crate::safetensors::{ADAPTER_FILE, SINGLE_FILE, SafetensorsDir};
use crate::save::{SaveDtype, Storage, save_tensors_mixed};
use crate::tensors::{StoredDtype, TensorInfo, TensorSource};

/// What the file of the model's sizes is called.
const CONFIG: &str = "config.json";
/// Larger than any file beside the weights.
const FILE_LIMIT: u64 = 1 << 30;

/// Writes the model folder `out`: `base` with `adapter` merged into its weights, one safetensors file under the base's
/// names and in the base's types, and its tokenizer and settings. The adapter's own `config.json` replaces the base's,
/// for it may have a guard that the base has not. The folder appears when it is whole; one that was made of the same
/// files is kept.
///
/// # Errors
/// When a file cannot be read or written, the adapter does not fit, the base is quantized, or `out` holds something else.
pub fn merge_adapter(base: &Path, adapter: &Path, out: &Path, progress: bool) -> Result<PathBuf, WeightsError> {
    let weights = SafetensorsDir::open(base)?;
    let opened = PeftAdapter::open(adapter)?;
    let merged = opened.merge(&weights)?;
    let quantized = |name: &String| weights.info(name).is_some_and(|info| matches!(info.dtype, StoredDtype::Ggml(_)));
    if weights.names().iter().any(quantized) {
        let reason = "it is quantized: merge into the model in full precision, and quantize the result";
        return Err(WeightsError::unsupported(base, reason));
    }
    let (mut sources, mut copied) = (BTreeMap::new(), Vec::new());
    for entry in fs::read_dir(base).map_err(WeightsError::io("read", base))? {
        let path = entry.map_err(WeightsError::io("read", base))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let weights = [".safetensors", ".safetensors.index.json", ".bin", ".pth", ".gguf"];
        if weights.iter().any(|ending| name.ends_with(ending)) {
            sources.insert(name, FileRecord::of(&path)?);
        } else if path.is_file() && name != MANIFEST_FILE && !name.starts_with('.') && name != "README.md" {
            copied.push((path, name));
        }
    }
    for path in [ADAPTER_FILE, ADAPTER_CONFIG, CONFIG].map(|name| adapter.join(name)) {
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            sources.insert(format!("adapter/{name}"), FileRecord::of(&path)?);
        }
    }
    if out.exists() && fs::read_dir(out).map_err(WeightsError::io("read", out))?.next().is_some() {
        let manifest = ModelManifest::read(out).ok().flatten();
        return match manifest.is_some_and(|m| m.sources == sources && m.is_complete(out)) {
            true => Ok(out.to_path_buf()),
            false => {
                let reason = std::io::Error::other("it holds something else already: give a new folder, or remove it");
                Err(WeightsError::io("create", out)(reason))
            }
        };
    }
    let staged = StagedFolder::create(out)?;
    for (path, name) in copied {
        copy(&path, &staged.path().join(name))?;
    }
    if adapter.join(CONFIG).is_file() {
        copy(&adapter.join(CONFIG), &staged.path().join(CONFIG))?;
    }
    let rest = FloatDtype::as_stored(&weights);
    let storage = |name: &str, _: &TensorInfo| {
        Storage::Float(match weights.info(name).map(|info| info.dtype) {
            Some(StoredDtype::F16) => SaveDtype::F16,
            Some(StoredDtype::BF16) => SaveDtype::BF16,
            Some(_) => SaveDtype::F32,
            // A tensor that the base has not.
            None => rest,
        })
    };
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    save_tensors_mixed(&staged.path().join(SINGLE_FILE), &merged, &storage, &metadata, progress)?;
    staged.commit(format!("{} with {}", base.display(), adapter.display()), sources)
}

fn copy(from: &Path, to: &Path) -> Result<(), WeightsError> {
    if fs::metadata(from).map_err(WeightsError::io("read", from))?.len() > FILE_LIMIT {
        return Err(WeightsError::io("copy", from)(std::io::Error::other("it has more than a gibibyte")));
    }
    fs::copy(from, to).map(drop).map_err(WeightsError::io("copy", from))
}
