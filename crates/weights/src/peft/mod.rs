//! LoRA adapters in PEFT's format, merged into a base checkpoint while it is read.

mod config;
mod merged;
mod names;

use std::path::Path;

use crate::error::WeightsError;
use crate::safetensors::{ADAPTER_FILE, SafetensorsDir};
use crate::tensors::TensorSource;

pub use config::LoraConfig;
pub use merged::Merged;

/// The adapter's configuration.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The adapter as pickled state dict, which older versions of PEFT wrote.
const PICKLED: &str = "adapter_model.bin";

/// A LoRA adapter: its tensors, opened but unread, and what they are multiplied with.
pub struct PeftAdapter {
    tensors: Box<dyn TensorSource>,
    config: LoraConfig,
}

impl PeftAdapter {
    /// Opens a folder with `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// When one of them is missing or malformed, or the configuration asks for more than a plain
    /// LoRA, such as DoRA; it says how to go on.
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        let config = folder.join(ADAPTER_CONFIG);
        let tensors = folder.join(ADAPTER_FILE);
        if !config.is_file() {
            let remedy = "a folder with a PEFT adapter has this file: name that folder";
            return Err(WeightsError::NotFound { path: config, remedy: remedy.to_string() });
        }
        if !tensors.is_file() {
            let remedy = match folder.join(PICKLED).is_file() {
                true => format!("{PICKLED} is a pickle and not read: save the adapter with `safe_serialization=True`"),
                false => "the adapter is incomplete: fetch this file too".to_string(),
            };
            return Err(WeightsError::NotFound { path: tensors, remedy });
        }
        let config = LoraConfig::read(&config)?;
        Ok(Self { tensors: Box::new(SafetensorsDir::open(&tensors)?), config })
    }

    /// An adapter of `tensors` named as PEFT names them, with its configuration.
    pub fn new(tensors: impl TensorSource + 'static, config: LoraConfig) -> Self {
        Self { tensors: Box::new(tensors), config }
    }

    /// `base` with this adapter merged in. Every tensor of the adapter finds its place:
    ///
    /// - `<layer>.lora_A.weight` `[rank, in]` and `<layer>.lora_B.weight` `[out, rank]` are added to
    ///   `<layer>.weight` `[out, in]`, the product in f32;
    /// - any other tensor (of `modules_to_save`, a trained bias) replaces the base's;
    /// - one of a guard head (`img_safety_head`) replaces the base's or is added, since a base may have none, or one
    ///   of another size.
    ///
    /// Names may begin with `base_model.model.`. The base's name is the same or, where the base has
    /// another layout, the one that differs only in `model.` and `language_model.` at its beginning
    /// and in what follows `vision_tower.`.
    ///
    /// # Errors
    /// When a tensor finds no place or two, or its shape or rank differs. No value has been read then.
    pub fn merge<'a>(&'a self, base: &'a dyn TensorSource) -> Result<Merged<'a>, WeightsError> {
        Merged::new(base, self)
    }
}
