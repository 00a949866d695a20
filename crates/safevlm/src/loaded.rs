//! The families this build knows, as one enum.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use safevlm_core::{Conversation, RgbImage, Taxonomy};
use safevlm_llama::{Llama, LlamaConfig};
use safevlm_nn::{Sequences, VlmOutput, vlm};
use safevlm_safe_smol::{Processor, SafeSmol, SafeSmolConfig};
use safevlm_text::{ChatTemplate, TextTokenizer};
use safevlm_weights::{Allow, KeyMap, SafetensorsDir, load_module};
use serde_json::Value;

use crate::error::Error;
use crate::safe_vlm::read_json;

/// A loaded model of one family.
#[derive(Debug)]
pub(crate) enum Loaded {
    SafeSmol(Box<SmolParts>),
    Llama(Box<LlamaParts>),
}

#[derive(Debug)]
pub(crate) struct SmolParts {
    model: SafeSmol,
    processor: Processor,
    config: SafeSmolConfig,
}

#[derive(Debug)]
pub(crate) struct LlamaParts {
    model: Llama,
    tokenizer: TextTokenizer,
    template: ChatTemplate,
    context: usize,
}

impl Loaded {
    /// Loads the folder's model onto `device`.
    pub(crate) fn load(dir: &Path, device: &Device) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let config = read_json(&path)?;
        match config.get("model_type").and_then(Value::as_str) {
            Some("safe_smol") => {
                let config = SafeSmolConfig::from_hf(&config)?;
                let weights = SafetensorsDir::open(dir)?;
                let keys = safevlm_safe_smol::key_map();
                let (model, _) = load_module(config.init(device), &weights, &keys, &Allow::nothing())?;
                let processor = Processor::from_dir(dir, &config)?;
                Ok(Loaded::SafeSmol(Box::new(SmolParts { model, processor, config })))
            }
            Some("llama") => {
                let config = LlamaConfig::from_hf(&config)?;
                let weights = SafetensorsDir::open(dir)?;
                let keys = KeyMap::new(&[(r"^model\.", "")]);
                let allow = Allow::nothing().unused(safevlm_llama::IGNORED);
                let (model, _) = load_module(config.init(device), &weights, &keys, &allow)?;
                Ok(Loaded::Llama(Box::new(LlamaParts {
                    model,
                    tokenizer: TextTokenizer::from_dir(dir)?,
                    template: ChatTemplate::from_dir(dir)?,
                    context: config.max_position_embeddings,
                })))
            }
            other => Err(Error::UnknownFamily { path, found: other.unwrap_or("missing").to_owned() }),
        }
    }

    pub(crate) fn tokenizer(&self) -> &TextTokenizer {
        match self {
            Loaded::SafeSmol(smol) => &smol.processor.tokenizer,
            Loaded::Llama(llama) => &llama.tokenizer,
        }
    }

    /// Longest sequence, in tokens.
    pub(crate) fn context(&self) -> usize {
        match self {
            Loaded::SafeSmol(smol) => smol.config.text.max_position_embeddings,
            Loaded::Llama(llama) => llama.context,
        }
    }

    /// The guard's labels; none for a model without a guard head.
    pub(crate) fn taxonomy(&self) -> Option<&Taxonomy> {
        match self {
            Loaded::SafeSmol(smol) => smol.config.guard.as_ref().map(|_| &smol.config.taxonomy),
            Loaded::Llama(_) => None,
        }
    }

    pub(crate) fn sees_images(&self) -> bool {
        matches!(self, Loaded::SafeSmol(_))
    }

    pub(crate) fn image_token(&self) -> Option<u32> {
        match self {
            Loaded::SafeSmol(smol) => Some(smol.processor.image_token()),
            Loaded::Llama(_) => None,
        }
    }

    /// Token ids up to where the answer begins.
    pub(crate) fn prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, Error> {
        match self {
            Loaded::SafeSmol(smol) => Ok(smol.processor.prompt(conversation)?),
            Loaded::Llama(llama) => {
                let text = llama.template.render(conversation, "", &llama.tokenizer)?;
                Ok(llama.tokenizer.encode(&text)?)
            }
        }
    }

    /// Pixels for the vision encoder; none for a text-only model or no images.
    pub(crate) fn pixels(&self, images: &[&RgbImage], device: &Device) -> Result<Option<Tensor<4>>, Error> {
        match self {
            Loaded::SafeSmol(smol) if !images.is_empty() => Ok(Some(smol.processor.pixels(images, device)?)),
            _ => Ok(None),
        }
    }

    /// Prefill: the language model over whole sequences, the guard over their images.
    pub(crate) fn prefill(
        &self,
        sequences: &Sequences,
        pixels: Option<Tensor<4>>,
        cache: Option<&mut safevlm_nn::KvCache>,
        device: &Device,
    ) -> Result<VlmOutput, Error> {
        match self {
            Loaded::SafeSmol(smol) => {
                let visual = pixels.map(|pixels| smol.model.visual_tokens(pixels));
                Ok(smol.model.forward(sequences, visual, cache, device)?)
            }
            Loaded::Llama(llama) => {
                use safevlm_nn::CausalLm;
                let embeddings = llama.model.embed(sequences.ids(0, device));
                let hidden = vlm::run(&llama.model, embeddings, sequences, 0, cache, device);
                Ok(VlmOutput { hidden, guard: None })
            }
        }
    }

    /// The language model inside, for decoding.
    pub(crate) fn language_model(&self) -> &Llama {
        match self {
            Loaded::SafeSmol(smol) => &smol.model.language_model,
            Loaded::Llama(llama) => &llama.model,
        }
    }
}
