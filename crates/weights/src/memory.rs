//! What a model folder needs in memory, told from the headers of its checkpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::dtype::FloatDtype;
use crate::error::WeightsError;
use crate::tensors::{StoredDtype, TensorInfo, TensorSource};

/// Allowed for everything whose size the checkpoint does not tell: the vision encoder's
/// activations, the tokenizer, the program and its buffers.
const FIXED_ALLOWANCE: u64 = 256 << 20;
/// Vectors of the hidden width that a layer holds at once for each token: the residual, its norm,
/// query, key and value, the attention's output.
const HIDDEN_VECTORS: u64 = 6;
/// Vectors of the MLP's width: gate and up.
const MLP_VECTORS: u64 = 2;
/// Bytes of an activation, assumed to be f32 whatever the weights are.
const ACTIVATION: u64 = 4;

/// Bytes that a model needs on its device, by part.
///
/// - *weights*: every value of the checkpoint in the type that is computed in; with f32, matrices in blocks as they
///   are stored, which is how a CPU multiplies them;
/// - *KV cache*: the keys and values of all layers for the whole context, in that type, one sequence;
/// - *activations*, an allowance: for a prefill of the whole context six vectors of the hidden
///   width and two of the MLP's width for each token, the attention mask, the last token's logits (all of
///   one layer, f32), and 256 MiB for the vision encoder and the program.
///
/// Layers that keep only a sliding window are counted in full, as this project's cache does.
/// Attention is taken to be fused: a device that stores all scores needs more for long prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// The model folder.
    pub path: PathBuf,
    /// The type that is computed in.
    pub dtype: FloatDtype,
    /// Tokens that the KV cache has room for.
    pub context: u64,
    /// The checkpoint's bytes by stored type.
    pub stored: BTreeMap<String, u64>,
    /// Bytes of the weights.
    pub weights: u64,
    /// Bytes of the KV cache.
    pub kv_cache: u64,
    /// Bytes allowed for activations.
    pub activations: u64,
    /// Whether matrices are stored, and counted, in blocks of few bits.
    #[serde(skip)]
    in_blocks: bool,
    #[serde(skip)]
    text: TextSizes,
}

impl MemoryEstimate {
    /// Estimates for `checkpoint` computed in `dtype`, or in the type that most of it is stored in, with
    /// `context` tokens. Names and shapes tell it; no value is read.
    ///
    /// # Errors
    /// When there is no language model with `k_proj` and `v_proj` in it.
    pub fn of(checkpoint: &dyn TensorSource, dtype: Option<FloatDtype>, context: usize) -> Result<Self, WeightsError> {
        let dtype = dtype.unwrap_or_else(|| FloatDtype::as_stored(checkpoint));
        let context = context as u64;
        let size = dtype.size() as u64;
        let (mut stored, mut weights, mut in_blocks) = (BTreeMap::new(), 0u64, false);
        for name in checkpoint.names() {
            let Some(info) = checkpoint.info(&name) else { continue };
            let bytes = stored.entry(info.dtype.to_string()).or_insert(0u64);
            *bytes = bytes.saturating_add(info.stored_bytes());
            let as_stored = dtype == FloatDtype::F32 && matches!(info.dtype, StoredDtype::Ggml(_));
            in_blocks |= as_stored;
            let computed = (info.len() as u64).saturating_mul(size);
            weights = weights.saturating_add(if as_stored { info.stored_bytes() } else { computed });
        }
        let Some(text) = TextSizes::read(checkpoint) else {
            let reason = "it has no language model with `k_proj` and `v_proj`, so its cache cannot be told from it";
            return Err(WeightsError::unsupported(checkpoint.path(), reason));
        };
        Ok(Self {
            path: checkpoint.path().to_path_buf(),
            dtype,
            context,
            stored,
            weights,
            kv_cache: text.cached.saturating_mul(context).saturating_mul(size),
            activations: text.activations(context),
            in_blocks,
            text,
        })
    }

    /// Bytes of all parts.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.activations)
    }

    /// The longest context with which the total is no more than `available` bytes; 0 if there is none.
    fn fitting_context(&self, available: u64) -> u64 {
        let size = self.dtype.size() as u64;
        let fits = |context: u64| {
            let cache = self.text.cached.saturating_mul(context).saturating_mul(size);
            self.weights.saturating_add(cache).saturating_add(self.text.activations(context)) <= available
        };
        let (mut low, mut high) = (0, self.context);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match fits(middle) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        low
    }

    /// Refuses a model that is larger than `available` bytes, before anything is loaded.
    ///
    /// # Errors
    /// [`WeightsError::TooLarge`], with what would make it fit.
    pub fn check(&self, available: u64) -> Result<(), WeightsError> {
        if self.total() <= available {
            return Ok(());
        }
        let mut advice = Vec::new();
        let context = self.fitting_context(available);
        if context > 0 {
            advice.push(format!("a context of at most {context} tokens instead of {}", self.context));
        }
        if self.dtype == FloatDtype::F32 && !self.in_blocks {
            advice.push(format!("f16 or bf16 where the device computes it ({} less)", Bytes(self.weights / 2)));
            advice.push("on a CPU a copy in eight bits (`safevlm import MODEL --quantize q8_0`)".to_string());
        }
        advice.push("a smaller model, a machine with more memory, or closing other programs".to_string());
        Err(WeightsError::TooLarge {
            path: self.path.clone(),
            needed: self.to_string(),
            available: Bytes(available).to_string(),
            advice: format!("choose {}", advice.join(", or ")),
        })
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "about {} (weights in {} {}, KV cache for {} tokens {}, activations {})",
            Bytes(self.total()),
            self.dtype,
            Bytes(self.weights),
            self.context,
            Bytes(self.kv_cache),
            Bytes(self.activations)
        )
    }
}

/// Sizes of the language model, from the shapes of its tensors: configurations leave out what
/// equals their family's default.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TextSizes {
    /// Values that the cache keeps for a token, of all layers.
    cached: u64,
    hidden: u64,
    intermediate: u64,
    vocabulary: u64,
    /// Query heads that share a key head.
    groups: u64,
}

impl TextSizes {
    fn read(checkpoint: &dyn TensorSource) -> Option<Self> {
        let text: Vec<(String, TensorInfo)> = checkpoint
            .names()
            .into_iter()
            .filter(|name| !is_vision(name))
            .filter_map(|name| checkpoint.info(&name).map(|info| (name, info)))
            .collect();
        let rows = |ending: &str| {
            let ending = ending.to_string();
            let named = text.iter().filter(move |(name, _)| name.ends_with(&ending));
            named.filter_map(|(_, info)| info.shape.first()).map(|rows| *rows as u64)
        };
        let keys: Vec<u64> = rows(".k_proj.weight").collect();
        let values: Vec<u64> = rows(".v_proj.weight").collect();
        let hidden = text.iter().find(|(name, _)| name.ends_with(".k_proj.weight"))?.1.shape.last().copied()?;
        let queries = rows(".q_proj.weight").max().unwrap_or(0);
        Some(Self {
            cached: keys.iter().chain(&values).fold(0, |sum: u64, rows| sum.saturating_add(*rows)),
            hidden: hidden as u64,
            intermediate: rows(".up_proj.weight").max().unwrap_or(0),
            vocabulary: rows("embed_tokens.weight").chain(rows("lm_head.weight")).max().unwrap_or(0),
            groups: queries.checked_div(*keys.first()?).unwrap_or(1).max(1),
        })
        .filter(|_| keys.len() == values.len())
    }

    /// Bytes, as [`MemoryEstimate`] says.
    fn activations(&self, context: u64) -> u64 {
        let token =
            HIDDEN_VECTORS.saturating_mul(self.hidden).saturating_add(MLP_VECTORS.saturating_mul(self.intermediate));
        let layer = token.saturating_mul(context).saturating_add(self.vocabulary).saturating_mul(ACTIVATION);
        let mask = context.saturating_mul(context).saturating_mul(self.groups);
        layer.saturating_add(mask).saturating_add(FIXED_ALLOWANCE)
    }
}

/// Whether a tensor of this name belongs to a vision encoder.
pub(crate) fn is_vision(name: &str) -> bool {
    name.contains("vision") || name.contains("visual")
}

/// A number of bytes, as people read it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0 as f64, "B");
        for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            if value < 1024. {
                break;
            }
            (value, unit) = (value / 1024., larger);
        }
        match unit {
            "B" => write!(f, "{value} B"),
            unit => write!(f, "{value:.1} {unit}"),
        }
    }
}

/// Bytes of main memory that can be had without swapping; none where the system does not tell
/// (anything but Linux). A limit of a container is not looked at.
pub fn available_memory() -> Option<u64> {
    available_in(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{SafetensorsDir, SaveDtype, Tensors, save_tensors};

    use super::*;

    /// Two layers, hidden 8, two query heads for one key head of width 4, MLP 16, vocabulary 10.
    fn tensors() -> Tensors {
        let mut tensors = Tensors::new();
        let mut add = |name: String, shape: &[usize]| {
            tensors.insert(name, shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap();
        };
        add("language_model.model.embed_tokens.weight".to_string(), &[10, 8]);
        for layer in 0..2 {
            for (name, shape) in [("q", [8, 8]), ("k", [4, 8]), ("v", [4, 8]), ("o", [8, 8])] {
                add(format!("language_model.model.layers.{layer}.self_attn.{name}_proj.weight"), &shape);
            }
            add(format!("language_model.model.layers.{layer}.mlp.up_proj.weight"), &[16, 8]);
        }
        add("vision_tower.encoder.layers.0.self_attn.k_proj.weight".to_string(), &[64, 64]);
        add("vision_tower.encoder.layers.0.self_attn.v_proj.weight".to_string(), &[64, 64]);
        tensors
    }

    fn estimate(dir: &Path, dtype: Option<FloatDtype>, context: usize) -> Result<MemoryEstimate, WeightsError> {
        MemoryEstimate::of(&SafetensorsDir::open(dir)?, dtype, context)
    }

    fn values() -> u64 {
        tensors().iter().map(|(_, _, values)| values.len() as u64).sum()
    }

    #[test]
    fn every_part_is_counted_from_the_headers() {
        let dir = tempfile::tempdir().unwrap();
        save_tensors(&dir.path().join("model.safetensors"), &tensors(), SaveDtype::BF16, &BTreeMap::new()).unwrap();
        let f32 = estimate(dir.path(), Some(FloatDtype::F32), 100).unwrap();
        assert_eq!(f32.stored, BTreeMap::from([("BF16".to_string(), 2 * values())]));
        assert_eq!(f32.weights, 4 * values());
        // Two layers, four keys and four values a token, four bytes.
        assert_eq!(f32.kv_cache, 2 * 8 * 100 * 4);
        assert_eq!(f32.activations, 4 * (100 * (6 * 8 + 2 * 16) + 10) + 2 * 100 * 100 + FIXED_ALLOWANCE);
        assert_eq!(f32.total(), f32.weights + f32.kv_cache + f32.activations);
        let stored = estimate(dir.path(), None, 100).unwrap();
        assert_eq!((stored.dtype, stored.weights), (FloatDtype::BF16, f32.weights / 2));
        assert_eq!(stored.kv_cache, f32.kv_cache / 2);
        assert!(f32.to_string().contains("KV cache for 100 tokens 6.2 KiB, activations 256.0 MiB"), "{f32}");
        let json = serde_json::to_value(&f32).unwrap();
        assert_eq!((json["dtype"].as_str(), json["kv_cache"].as_u64()), (Some("f32"), Some(6400)));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_advice_that_fits() {
        let dir = tempfile::tempdir().unwrap();
        save_tensors(&dir.path().join("model.safetensors"), &tensors(), SaveDtype::F32, &BTreeMap::new()).unwrap();
        let long = estimate(dir.path(), None, 100_000).unwrap();
        long.check(long.total()).unwrap();
        let shorter = estimate(dir.path(), None, 5_000).unwrap();
        for (available, part) in
            [(long.total() - 1, "at most 99999 tokens instead of 100000"), (shorter.total(), "at most 5000 tokens")]
        {
            let error = long.check(available).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("f16 or bf16"), "{error}");
        }
        // Where no context is short enough, none is recommended.
        let error = long.check(1000).unwrap_err().to_string();
        assert!(!error.contains("at most") && error.contains("a smaller model"), "{error}");
        assert!(estimate(dir.path(), None, usize::MAX).unwrap().check(u64::MAX - 1).is_err());
    }

    #[test]
    fn a_folder_without_a_language_model_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut vision = Tensors::new();
        vision.insert("vision_tower.k_proj.weight", vec![1, 1], vec![0.]).unwrap();
        save_tensors(&dir.path().join("model.safetensors"), &vision, SaveDtype::F32, &BTreeMap::new()).unwrap();
        let error = estimate(dir.path(), None, 1).unwrap_err().to_string();
        assert!(error.contains("k_proj"), "{error}");
    }

    #[test]
    fn available_memory_is_read_where_the_system_tells_it() {
        assert_eq!(available_in("MemTotal:  9 kB\nMemAvailable:   20023296 kB\n"), Some(20_023_296 << 10));
        for text in ["", "MemAvailable: x kB", "MemAvailable: 5", "MemAvailable: 18446744073709551615 kB"] {
            assert_eq!(available_in(text), None, "{text}");
        }
        if cfg!(target_os = "linux") {
            assert!(available_memory().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
