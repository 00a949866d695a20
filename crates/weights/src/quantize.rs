//! Which tensors of a model are stored in blocks of few bits, and in which format.

use std::fmt;
use std::str::FromStr;

use safevlm_kernels::quant::{BlockFormat, QuantError};

use crate::dtype::FloatDtype;
use crate::error::WeightsError;
use crate::gguf::GgmlType;
use crate::memory::is_vision;
use crate::save::Storage;
use crate::tensors::{StoredDtype, TensorInfo, TensorSource};

/// What an import does with the language model's matrices: those of its layers, its embeddings and its output head.
/// Everything else (norms, vision encoder, projector, guard) stays in floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// They stay in the blocks that a GGUF has them in. Q5_0, for which there are no kernels, becomes Q8_0.
    Keep,
    /// They are quantized to this format.
    To(BlockFormat),
}

impl Quantization {
    /// How the tensor `name` is to be stored, where floats are stored as `rest`.
    pub(crate) fn storage(self, name: &str, info: &TensorInfo, rest: FloatDtype) -> Storage {
        if info.shape.len() != 2 || !is_language_matrix(name) {
            return Storage::Float(rest);
        }
        match (self, info.dtype) {
            (Self::To(format), _) => Storage::Blocks(format),
            (Self::Keep, StoredDtype::Ggml(GgmlType::Q5_0)) => Storage::Blocks(BlockFormat::Q8_0),
            (Self::Keep, StoredDtype::Ggml(kind)) => kind.format().map_or(Storage::Float(rest), Storage::Blocks),
            (Self::Keep, _) => Storage::Float(rest),
        }
    }

    /// What a folder's name ends in: the format of most values of `source`.
    ///
    /// # Errors
    /// If `source` has none to keep, or no language model.
    pub(crate) fn suffix(self, source: &dyn TensorSource) -> Result<String, WeightsError> {
        let mut counts: Vec<(BlockFormat, usize)> = Vec::new();
        for name in source.names() {
            let Some(info) = source.info(&name) else { continue };
            let Storage::Blocks(format) = self.storage(&name, &info, FloatDtype::F32) else { continue };
            match counts.iter_mut().find(|(known, _)| *known == format) {
                Some((_, count)) => *count += info.len(),
                None => counts.push((format, info.len())),
            }
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(format, _)| format.to_string()).ok_or_else(|| {
            let reason = match self {
                Self::Keep => "it has no quantized weights to keep: choose q8_0, q4_0, q4_1 or q4_k",
                Self::To(_) => "it has no language model whose matrices could be quantized",
            };
            WeightsError::unsupported(source.path(), reason)
        })
    }
}

/// Whether `name` is that of a matrix of a language model, as Hugging Face's checkpoints have it.
fn is_language_matrix(name: &str) -> bool {
    let Some(module) = name.strip_suffix(".weight") else { return false };
    let (outer, last) = module.rsplit_once('.').unwrap_or(("", module));
    let in_layer = last.ends_with("_proj") && format!(".{outer}.").contains(".layers.");
    !is_vision(name) && (in_layer || last == "embed_tokens" || last == "lm_head")
}

impl FromStr for Quantization {
    type Err = QuantError;

    fn from_str(text: &str) -> Result<Self, QuantError> {
        match text {
            "keep" => Ok(Self::Keep),
            _ => text.parse().map(Self::To),
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::To(format) => format.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_of_the_language_model_and_no_others_are_quantized() {
        for name in [
            "model.embed_tokens.weight",
            "lm_head.weight",
            "language_model.model.layers.3.self_attn.q_proj.weight",
            "model.language_model.layers.0.mlp.down_proj.weight",
        ] {
            assert!(is_language_matrix(name), "{name}");
        }
        for name in [
            "model.layers.0.input_layernorm.weight",
            "model.layers.0.self_attn.q_proj.bias",
            "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight",
            "visual.blocks.0.mlp.gate_proj.weight",
            "multi_modal_projector.linear_1.weight",
            "multi_modal_projector.mm_input_projection_weight",
            "img_safety_head.mlp.0.weight",
        ] {
            assert!(!is_language_matrix(name), "{name}");
        }
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("keep".parse(), Ok(Quantization::Keep));
        assert_eq!("q4_1".parse(), Ok(Quantization::To(BlockFormat::Q4_1)));
        assert_eq!(Quantization::To(BlockFormat::Q8_0).to_string(), "q8_0");
        assert!("int8".parse::<Quantization>().unwrap_err().to_string().contains("q8_0"));
    }
}
