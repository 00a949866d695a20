//! What a plain Llama consists of: its sizes in a GGUF's metadata, its tensors and both their names.

use crate::error::WeightsError;
use crate::gguf::{GgufFile, Value};
use crate::tensors::TensorSource;

/// GGUF's tensor names and Hugging Face's, below `blk.N.` and `model.layers.N.`.
const LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The tensors outside the layers.
const OUTER: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// The sizes that `config.json` and the permutation need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LlamaShape {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) context: usize,
    pub(crate) vocabulary: usize,
    pub(crate) tied: bool,
}

impl LlamaShape {
    /// Reads the sizes; refuses variants that are not a plain Llama.
    pub(crate) fn read(gguf: &GgufFile) -> Result<Self, WeightsError> {
        let unsupported = |reason: String| Err(WeightsError::unsupported(gguf.path(), reason));
        let architecture = gguf.text("general.architecture")?;
        if architecture != "llama" {
            return unsupported(format!("its architecture is `{architecture}`, and only `llama` can be converted"));
        }
        if gguf.count("split.count").is_ok_and(|count| count > 1) {
            return unsupported("it is one part of a split model; merge the parts first".into());
        }
        if gguf.count("llama.expert_count").is_ok_and(|count| count > 0) {
            return unsupported("it is a mixture of experts, which Llama here is not".into());
        }
        if let Some(Value::String(scaling)) = gguf.value("llama.rope.scaling.type")
            && scaling != "none"
        {
            return unsupported(format!("its rotary embedding is scaled (`{scaling}`)"));
        }
        let heads = gguf.count("llama.attention.head_count")?;
        let kv_heads = match gguf.value("llama.attention.head_count_kv") {
            None => heads,
            Some(_) => gguf.count("llama.attention.head_count_kv")?,
        };
        let hidden = gguf.count("llama.embedding_length")?;
        let head_dim = match gguf.value("llama.attention.key_length") {
            None => hidden.checked_div(heads).unwrap_or(0),
            Some(_) => gguf.count("llama.attention.key_length")?,
        };
        let rotary = match gguf.value("llama.rope.dimension_count") {
            None => head_dim,
            Some(_) => gguf.count("llama.rope.dimension_count")?,
        };
        let plausible = head_dim > 0
            && head_dim % 2 == 0
            && kv_heads > 0
            && heads % kv_heads == 0
            && heads.checked_mul(head_dim).is_some();
        if !plausible {
            let reason = format!("{heads} heads, {kv_heads} of keys, of {head_dim} cannot be");
            return Err(WeightsError::malformed(gguf.path(), "GGUF", reason));
        }
        if rotary != head_dim {
            return unsupported(format!(
                "it rotates {rotary} of {head_dim} dimensions, and only whole heads are supported"
            ));
        }
        Ok(Self {
            layers: gguf.count("llama.block_count")?,
            hidden,
            intermediate: gguf.count("llama.feed_forward_length")?,
            heads,
            kv_heads,
            head_dim,
            context: gguf.count("llama.context_length")?,
            vocabulary: gguf.texts("tokenizer.ggml.tokens")?.len(),
            tied: gguf.info("output.weight").is_none(),
        })
    }

    /// GGUF name and shape of every tensor that the model needs.
    pub(crate) fn expected(self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden, self.intermediate);
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let outer = OUTER.iter().filter(move |(name, _)| !(self.tied && *name == "output.weight"));
        let outer = outer.map(move |(name, _)| match *name {
            "output_norm.weight" => (name.to_string(), vec![hidden]),
            _ => (name.to_string(), vec![self.vocabulary, hidden]),
        });
        let layers = (0..self.layers).flat_map(move |layer| {
            LAYER.iter().map(move |(name, _)| {
                let shape = match *name {
                    "attn_norm" | "ffn_norm" => vec![hidden],
                    "attn_q" => vec![queries, hidden],
                    "attn_k" | "attn_v" => vec![keys, hidden],
                    "attn_output" => vec![hidden, queries],
                    "ffn_down" => vec![hidden, inner],
                    _ => vec![inner, hidden],
                };
                (format!("blk.{layer}.{name}.weight"), shape)
            })
        });
        outer.chain(layers)
    }
}

/// The Hugging Face name of the tensor that GGUF calls `gguf`.
pub(crate) fn hf_name(gguf: &str) -> Option<String> {
    if let Some((_, hf)) = OUTER.iter().find(|(name, _)| *name == gguf) {
        return Some(hf.to_string());
    }
    let (layer, part) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let part = part.strip_suffix(".weight")?;
    let (_, hf) = LAYER.iter().find(|(name, _)| *name == part)?;
    is_layer(layer).then(|| format!("model.layers.{layer}.{hf}.weight"))
}

/// The GGUF name of the tensor that Hugging Face calls `hf`.
pub(crate) fn gguf_name(hf: &str) -> Option<String> {
    if let Some((gguf, _)) = OUTER.iter().find(|(_, name)| *name == hf) {
        return Some(gguf.to_string());
    }
    let (layer, part) = hf.strip_prefix("model.layers.")?.split_once('.')?;
    let part = part.strip_suffix(".weight")?;
    let (gguf, _) = LAYER.iter().find(|(_, name)| *name == part)?;
    is_layer(layer).then(|| format!("blk.{layer}.{gguf}.weight"))
}

/// A layer's number as both formats write it: without leading zeros.
fn is_layer(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number.to_string() == text)
}
