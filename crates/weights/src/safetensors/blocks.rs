//! Matrices of few bits in a safetensors file, which has no types for them.
//!
//! Each is a U8 tensor of rows of whole blocks, as GGUF lays them out, and the header's `__metadata__` says under
//! [`BLOCKS`] in which format: a JSON object of names such as `{"lm_head.weight": "q8_0"}`.

use std::collections::BTreeMap;

use safevlm_kernels::quant::BlockFormat;

use super::header::Header;
use crate::gguf::GgmlType;
use crate::tensors::{StoredDtype, TensorInfo};

/// The key of the metadata.
pub(crate) const BLOCKS: &str = "safevlm_blocks";

/// What the metadata says of these formats by tensor.
pub(crate) fn describe(formats: &BTreeMap<String, BlockFormat>) -> String {
    let names: serde_json::Map<_, _> =
        formats.iter().map(|(name, format)| (name.clone(), format.name().into())).collect();
    serde_json::Value::Object(names).to_string()
}

/// Gives the tensors that the metadata names their type, and the shape of their values.
///
/// # Errors
/// Says why if the metadata is damaged, or a tensor is not there or no matrix of whole blocks.
pub(super) fn apply(header: &mut Header) -> Result<(), String> {
    let Some(text) = header.metadata.get(BLOCKS) else { return Ok(()) };
    let formats: BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| format!("its `{BLOCKS}` metadata is not valid: {error}"))?;
    for (name, format) in formats {
        let format: BlockFormat = format.parse().map_err(|error| format!("tensor `{name}`: {error}"))?;
        let entry =
            header.tensors.get_mut(&name).ok_or_else(|| format!("`{BLOCKS}` names `{name}`, which it lacks"))?;
        let (&[rows, bytes], StoredDtype::U8) = (entry.info.shape.as_slice(), entry.info.dtype) else {
            return Err(format!("tensor `{name}` should be {format}, and is no matrix of bytes"));
        };
        let (values, size) = (format.block_len(), format.block_bytes());
        let columns = (bytes / size).checked_mul(values).filter(|_| bytes.is_multiple_of(size));
        let columns =
            columns.ok_or_else(|| format!("tensor `{name}` has rows of {bytes} bytes, no blocks of {size}"))?;
        let kind = GgmlType::from_id(format.gguf_id()).ok_or_else(|| format!("tensor `{name}`: no {format} here"))?;
        rows.checked_mul(columns).ok_or_else(|| format!("tensor `{name}` is too large"))?;
        entry.info = TensorInfo { shape: vec![rows, columns], dtype: StoredDtype::Ggml(kind) };
    }
    Ok(())
}
