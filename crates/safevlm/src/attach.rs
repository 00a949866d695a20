//! A guard head that was trained apart, joined to a base model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safevlm_core::CLASSES;
use safevlm_family::{CONFIG_FILE, read_json};
use safevlm_weights::{
    Cache, FileRecord, INDEX_FILE, KeyMap, SINGLE_FILE, SafetensorsDir, SaveDtype, StagedFolder, TensorSource, Tensors,
    save_tensors,
};
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The head's own shard.
const GUARD_FILE: &str = "guard.safetensors";
/// What a base model's only file is called beside it.
const BASE_FILE: &str = "base.safetensors";
/// Checkpoint names of the head's parts, as the published models have them.
const NAMES: [(&str, &str); 4] = [
    ("fc1.weight", "img_safety_head.mlp.0.weight"),
    ("fc1.bias", "img_safety_head.mlp.0.bias"),
    ("fc2.weight", "img_safety_head.mlp.3.weight"),
    ("fc2.bias", "img_safety_head.mlp.3.bias"),
];

/// Makes the model `NAME-guard` in `cache` of the base model in `base` and the head in the safetensors file
/// `head`: two linear layers under any of the names that heads have had, with or without `img_safety_head` before
/// them. The labels are those of the file's `safety_categories` metadata (a JSON list), or the built-in taxonomy for
/// 20 classes.
///
/// # Errors
///
/// If the base has a guard already, the head's shapes do not fit the base's width or each other, its labels are
/// not known, or the cache cannot be written.
pub fn attach_guard(base: &Path, head: &Path, cache: &Cache) -> Result<PathBuf, Error> {
    let config = read_json(&base.join(CONFIG_FILE))?;
    let wrong = |reason: String| Error::AttachGuard { head: head.to_owned(), base: base.to_owned(), reason };
    if !config["num_safety_categories"].is_null() || !config["safety_categories"].is_null() {
        return Err(wrong("the base has a guard head already".to_owned()));
    }
    let (tensors, keys) = read_head(head, &config, &wrong)?;
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    let staged = StagedFolder::create(&cache.model_dir(&format!("{name}-guard")))?;
    let mut sources = BTreeMap::from([("guard".to_owned(), FileRecord::of(head)?)]);
    let mut map = Map::new();
    for (file, path) in files(base)? {
        let target = if file == SINGLE_FILE { BASE_FILE } else { &file };
        if file == INDEX_FILE || file == CONFIG_FILE {
            continue;
        }
        link_or_copy(&path, &staged.path().join(target))?;
        sources.insert(format!("base/{file}"), FileRecord::of(&path)?);
    }
    let checkpoint = SafetensorsDir::open(base)?;
    for tensor in checkpoint.names() {
        let shard = checkpoint.shard(&tensor).unwrap_or(SINGLE_FILE);
        let shard = if shard == SINGLE_FILE { BASE_FILE } else { shard };
        map.insert(tensor, json!(shard));
    }
    for (_, name) in NAMES {
        map.insert(name.to_owned(), json!(GUARD_FILE));
    }
    save_tensors(&staged.path().join(GUARD_FILE), &tensors, SaveDtype::F32, &BTreeMap::new())?;
    staged.write_json(INDEX_FILE, &json!({"metadata": {}, "weight_map": map}))?;
    let mut joined = config.as_object().cloned().unwrap_or_default();
    joined.extend(keys);
    staged.write_json(CONFIG_FILE, &joined)?;
    Ok(staged.commit(format!("{name} with a guard"), sources)?)
}

/// The head's tensors under their published names, and its keys for `config.json`.
fn read_head(
    head: &Path,
    config: &Value,
    wrong: &dyn Fn(String) -> Error,
) -> Result<(Tensors, Map<String, Value>), Error> {
    let file = SafetensorsDir::open(head)?;
    let rules = safevlm_vgm::key_rules("");
    let rules: Vec<(&str, &str)> = rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let rules = KeyMap::new(&rules);
    let mut parts = BTreeMap::new();
    for name in file.names() {
        let full = if name.contains("img_safety_head") { name.clone() } else { format!("img_safety_head.{name}") };
        if parts.insert(rules.apply(&full), name.clone()).is_some() {
            return Err(wrong(format!("it has `{name}` twice, under two names")));
        }
    }
    let mut tensors = Tensors::new();
    let mut shapes = Vec::new();
    for (part, name) in NAMES {
        let stored = parts.remove(part).ok_or_else(|| wrong(format!("it has no tensor for `{name}`")))?;
        let shape = file.info(&stored).map(|info| info.shape).unwrap_or_default();
        tensors.insert(name, shape.clone(), file.read_f32(&stored)?)?;
        shapes.push(shape);
    }
    if let Some(name) = parts.values().next() {
        return Err(wrong(format!("its tensor `{name}` belongs to no head of two linear layers")));
    }
    let width = ["/text_config/hidden_size", "/hidden_size"].iter().find_map(|key| config.pointer(key)?.as_u64());
    let width = width.ok_or_else(|| wrong("the base's config.json has no `hidden_size`".to_owned()))? as usize;
    let fits = |inner: usize, classes: usize| {
        let expected = [vec![inner, width], vec![inner], vec![classes, inner], vec![classes]];
        shapes == expected
    };
    let (inner, classes) = (shapes[1].iter().product(), shapes[3].iter().product());
    if !fits(inner, classes) {
        return Err(wrong(format!("its shapes are {shapes:?}, and the base is {width} wide")));
    }
    let labels = match file.metadata("safety_categories") {
        Some(text) => serde_json::from_str::<Vec<String>>(text)
            .map_err(|_| wrong("its `safety_categories` metadata is no JSON list of names".to_owned()))?,
        None if classes == CLASSES.len() => CLASSES.iter().map(|class| class.name.to_owned()).collect(),
        None => return Err(wrong(format!("it has {classes} classes and no `safety_categories` metadata names them"))),
    };
    if labels.len() != classes {
        return Err(wrong(format!("it has {classes} classes and {} names for them", labels.len())));
    }
    let keys = json!({
        "safety_categories": labels,
        "num_safety_categories": classes,
        "safety_head_hidden_scale": inner as f64 / width as f64,
        "safety_num_hidden_layers": 1,
    });
    Ok((tensors, keys.as_object().cloned().unwrap_or_default()))
}

/// The files of a model folder that are not hidden, by name.
fn files(dir: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let read = |source| Error::Family(safevlm_family::FamilyError::Read { path: dir.to_owned(), source });
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && !name.starts_with('.') && name != safevlm_weights::MANIFEST_FILE {
            files.insert(name, path);
        }
    }
    Ok(files)
}

/// Weights are large: a link serves where the cache is on the same disk.
fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    let linked = std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop));
    linked.map_err(|source| Error::Write { path: to.to_owned(), source })
}
