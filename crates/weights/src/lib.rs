//! Where SafeVLM's weights come from, and how they get into a module.
//!
//! - [`Source`], [`Fetcher`], [`Cache`]: packages, hub repositories and paths become verified
//!   files in a cache.
//! - [`TensorSource`]: safetensors, GGUF and PyTorch checkpoints, read one tensor at a time.
//! - [`import_source`]: a source becomes a model folder in the Hugging Face layout.
//! - [`KeyMap`], [`load_module`], [`save_module`]: between a checkpoint's names and a module's
//!   fields.
//! - [`PeftAdapter`]: a checkpoint with a LoRA adapter merged in as it is read.
//! - [`MemoryEstimate`]: what a model folder will need, before anything is loaded.

mod archive;
mod atomic;
mod cache;
mod choose;
mod clients;
mod decode;
mod digest;
mod dtype;
mod error;
mod fetch;
mod field_path;
mod folder;
pub mod gguf;
mod gguf_model;
mod hub;
mod hub_download;
mod hub_fetch;
mod import;
mod keys;
mod llama_layout;
mod load;
mod manifest;
mod memory;
mod merge;
mod peft;
mod positioned;
mod progress;
mod pytorch;
mod quantize;
mod report;
mod safetensors;
mod save;
mod save_module;
mod source;
mod tensors;
mod tokenizer;

pub use cache::{Cache, HOME_VARIABLE};
pub use digest::sha256_file;
pub use dtype::FloatDtype;
pub use error::WeightsError;
pub use fetch::{Fetcher, PinnedFile};
pub use field_path::FieldPath;
pub use folder::{MANIFEST_FILE, ModelManifest, StagedFolder};
pub use gguf_model::LlamaGguf;
pub use import::{import_source, import_source_as};
pub use keys::{Allow, KeyMap};
pub use load::{
    HeldBlocks, check_finite, check_module, load_module, load_module_as, load_module_with_blocks, refuse_misfits,
};
pub use manifest::FileRecord;
pub use memory::{MemoryEstimate, available_memory};
pub use merge::merge_adapter;
pub use peft::{LoraConfig, Merged, PeftAdapter};
pub use pytorch::StateDict;
pub use quantize::Quantization;
pub use report::{AppliedTensor, LoadReport, MisshapenTensor, ModuleField, StoredTensor};
pub use safetensors::{ADAPTER_FILE, INDEX_FILE, SINGLE_FILE, SafetensorsDir};
pub use save::{Declared, SafetensorsWriter, SaveDtype, Storage, save_tensors, save_tensors_mixed};
pub use save_module::{collect_module, save_module};
pub use source::Source;
pub use tensors::{StoredDtype, TakePiece, TensorInfo, TensorSource, Tensors};
pub use tokenizer::{TokenizerFiles, tokenizer_files};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
