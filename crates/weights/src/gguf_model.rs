//! A Llama-architecture GGUF as a model in the Hugging Face layout.

use std::path::Path;
use std::sync::Arc;

use safevlm_kernels::quant::QuantizedMatrix;
use serde_json::{Value as Json, json};

use crate::error::WeightsError;
use crate::gguf::GgufFile;
use crate::llama_layout::{LlamaShape, gguf_name, hf_name};
use crate::tensors::{TensorInfo, TensorSource, no_tensor};

/// A Llama GGUF seen as the checkpoint it was made from: Hugging Face's names, the rows of the
/// query and key projections in their original order, values as f32 or in the file's own blocks.
///
/// The converter to GGUF interleaves the two rotary halves of every head's rows
/// (`LlamaModel.permute` in llama.cpp's `convert_hf_to_gguf.py`); this view undoes it.
#[derive(Debug)]
pub struct LlamaGguf {
    gguf: GgufFile,
    shape: LlamaShape,
}

impl LlamaGguf {
    /// Opens `path` and checks that it is a plain Llama: every tensor known, every shape as the
    /// metadata says.
    ///
    /// # Errors
    /// When the file is not GGUF, is of another architecture or variant (experts, scaled rotary
    /// embedding, biases), or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let gguf = GgufFile::open(path)?;
        let shape = LlamaShape::read(&gguf)?;
        let this = Self { gguf, shape };
        this.check_tensors()?;
        Ok(this)
    }

    /// The file itself, for its other metadata.
    pub fn gguf(&self) -> &GgufFile {
        &self.gguf
    }

    /// `config.json`.
    ///
    /// # Errors
    /// When the normalisation's epsilon or the rotary base is missing.
    pub fn config(&self) -> Result<Json, WeightsError> {
        let LlamaShape { layers, hidden, intermediate, heads, kv_heads, head_dim, context, vocabulary, tied } =
            self.shape;
        let theta = match self.gguf.value("llama.rope.freq_base") {
            None => 10_000.0,
            Some(_) => self.gguf.float("llama.rope.freq_base")?,
        };
        let epsilon = self.gguf.float("llama.attention.layer_norm_rms_epsilon")?;
        let id = |key: &str| self.gguf.count(&format!("tokenizer.ggml.{key}_token_id")).ok();
        Ok(json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": id("bos"),
            "eos_token_id": id("eos"),
            "head_dim": head_dim,
            "hidden_act": "silu",
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "max_position_embeddings": context,
            "mlp_bias": false,
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "num_key_value_heads": kv_heads,
            "pad_token_id": id("padding"),
            "rms_norm_eps": shortest(epsilon),
            "rope_scaling": null,
            "rope_theta": shortest(theta),
            "tie_word_embeddings": tied,
            "torch_dtype": "float32",
            "vocab_size": vocabulary,
        }))
    }

    /// The number of heads whose rows are interleaved in the tensor `gguf_name`.
    fn permuted_heads(&self, gguf_name: &str) -> Option<usize> {
        match gguf_name {
            name if name.ends_with(".attn_q.weight") => Some(self.shape.heads),
            name if name.ends_with(".attn_k.weight") => Some(self.shape.kv_heads),
            _ => None,
        }
    }

    fn check_tensors(&self) -> Result<(), WeightsError> {
        let bad = |reason: String| WeightsError::malformed(self.gguf.path(), "GGUF", reason);
        let names = self.gguf.names();
        let unknown = names.iter().find(|name| hf_name(name).is_none());
        if let Some(unknown) = unknown {
            return Err(WeightsError::unsupported(
                self.gguf.path(),
                format!("it has the tensor `{unknown}`, which a plain Llama does not have"),
            ));
        }
        for name in names {
            let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
            if let Some((number, _)) = layer
                && number.parse::<usize>().is_ok_and(|number| number >= self.shape.layers)
            {
                let layers = self.shape.layers;
                return Err(bad(format!("it has the tensor `{name}` and {layers} layers")));
            }
        }
        for (name, shape) in self.shape.expected() {
            match self.gguf.info(&name) {
                None => return Err(bad(format!("it has no tensor `{name}`"))),
                Some(info) if info.shape != shape => {
                    let found = info.shape;
                    return Err(bad(format!("`{name}` is {found:?} and should be {shape:?}")));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl TensorSource for LlamaGguf {
    fn path(&self) -> &Path {
        self.gguf.path()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.gguf.names().iter().filter_map(|n| hf_name(n)).collect();
        names.sort();
        names
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.gguf.info(&gguf_name(name)?)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let gguf_name = gguf_name(name).ok_or_else(|| no_tensor(self, name))?;
        let values = self.gguf.read_f32(&gguf_name)?;
        Ok(match self.permuted_heads(&gguf_name) {
            Some(heads) => separate_halves(&values, heads, self.shape.head_dim),
            None => values,
        })
    }

    fn read_blocks(&self, name: &str) -> Result<Option<QuantizedMatrix>, WeightsError> {
        let gguf_name = gguf_name(name).ok_or_else(|| no_tensor(self, name))?;
        let blocks = self.gguf.read_blocks(&gguf_name)?;
        let (Some(blocks), Some(heads)) = (&blocks, self.permuted_heads(&gguf_name)) else { return Ok(blocks) };
        let bytes = Arc::new(separate_halves(blocks.bytes(), heads, self.shape.head_dim));
        let matrix = QuantizedMatrix::new(blocks.format(), blocks.rows(), blocks.columns(), bytes, 0);
        matrix.map(Some).map_err(|error| WeightsError::unsupported(self.path(), error.to_string()))
    }
}

/// `[heads, head_dim / 2, 2, in]` to `[heads, 2, head_dim / 2, in]`: each head's interleaved rows, of values or of
/// the bytes of their blocks, become two halves.
fn separate_halves<T: Copy>(values: &[T], heads: usize, head_dim: usize) -> Vec<T> {
    let width = values.len() / (heads * head_dim);
    let row = |index: usize| &values[index * width..(index + 1) * width];
    let mut out = Vec::with_capacity(values.len());
    for head in 0..heads {
        for half in 0..2 {
            for pair in 0..head_dim / 2 {
                out.extend_from_slice(row(head * head_dim + 2 * pair + half));
            }
        }
    }
    out
}

/// The shortest decimal that is the same f32: GGUF keeps 1e-5 as 9.999999747378752e-6.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}
