//! Rotary position embedding in the half-split convention of Hugging Face checkpoints.

use std::iter::{repeat, repeat_n};

use burn::config::Config;
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::positions::Positions;

/// How Llama 3 stretches its rotary frequencies (reference: transformers `_compute_llama3_parameters`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// Divides the low frequencies.
    pub factor: f64,
    /// Below this many turns in the old context a frequency is divided in full.
    pub low_freq_factor: f64,
    /// Above this many turns it is left alone.
    pub high_freq_factor: f64,
    /// Context length of the original model.
    pub original_max_position_embeddings: usize,
}

/// Configuration of [`Rotary`].
#[derive(Config, Debug)]
pub struct RotaryConfig {
    /// Width of one attention head.
    pub head_dim: usize,
    /// Base of the frequencies.
    #[config(default = 10000.0)]
    pub theta: f64,
    /// Stretching of the frequencies.
    pub scaling: Option<RopeScaling>,
    /// Divides every frequency: "linear" scaling.
    #[config(default = 1.0)]
    pub factor: f64,
    /// How many of the `head_dim / 2` frequencies turn with the first axis of the positions, how many
    /// with the second, and so on (reference: `mrope_section`). Empty: all turn with the first.
    #[config(default = "Vec::new()")]
    pub sections: Vec<usize>,
}

/// Inverse frequencies, from which cosine and sine tables are made for the positions at hand.
#[derive(Clone, Debug)]
pub struct Rotary {
    inv_freq: Vec<f32>,
    /// Which axis of the positions each frequency turns with.
    axes: Vec<usize>,
}

/// Cosines and sines for one batch, `[batch, 1, tokens, head_dim]`; made once for all layers.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RotaryConfig {
    /// The inverse frequencies, in f32 as the reference computes them. A frequency that no section
    /// names turns with the first axis.
    pub fn init(&self) -> Rotary {
        let named = self.sections.iter().enumerate().flat_map(|(axis, count)| repeat_n(axis, *count));
        let axes = named.chain(repeat(0)).take(self.head_dim / 2).collect();
        Rotary { inv_freq: self.frequencies(self.head_dim), axes }
    }

    /// The frequencies of a head `1 / axes` as wide, once for each axis: for patches that have a row and
    /// a column (reference: transformers `Qwen2_5_VLVisionRotaryEmbedding`).
    pub fn init_axial(&self, axes: usize) -> Rotary {
        let one = self.frequencies(self.head_dim / axes);
        let of_frequency = (0..axes).flat_map(|axis| repeat_n(axis, one.len())).collect();
        Rotary { inv_freq: one.repeat(axes), axes: of_frequency }
    }

    /// The `width / 2` inverse frequencies of a head of `width`.
    fn frequencies(&self, width: usize) -> Vec<f32> {
        let frequency = |i: usize| {
            let exponent = (2 * i) as f32 / width as f32;
            let freq = 1.0 / (self.theta as f32).powf(exponent) / self.factor as f32;
            self.scaling.as_ref().map_or(freq, |s| s.apply(freq))
        };
        (0..width / 2).map(frequency).collect()
    }
}

impl RopeScaling {
    fn apply(&self, freq: f32) -> f32 {
        let wavelength = 2.0 * std::f64::consts::PI / f64::from(freq);
        let old = self.original_max_position_embeddings as f64;
        if wavelength < old / self.high_freq_factor {
            return freq;
        }
        if wavelength > old / self.low_freq_factor {
            return (f64::from(freq) / self.factor) as f32;
        }
        let smooth = (old / wavelength - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
        ((1.0 - smooth) * f64::from(freq) / self.factor + smooth * f64::from(freq)) as f32
    }
}

impl Rotary {
    /// Cosines and sines for `positions` in f32, on `device`.
    pub fn table(&self, positions: &Positions, device: &Device) -> RotaryTable {
        let half = self.inv_freq.len();
        let tokens = positions.batch() * positions.tokens();
        let ids: Vec<&[i32]> = self.axes.iter().map(|axis| positions.axis(*axis)).collect();
        let mut cos = Vec::with_capacity(tokens * half * 2);
        let mut sin = Vec::with_capacity(tokens * half * 2);
        for token in 0..tokens {
            let angles = || self.inv_freq.iter().zip(&ids).map(|(f, ids)| f * ids[token] as f32);
            cos.extend(angles().map(f32::cos));
            sin.extend(angles().map(f32::sin));
            // Both halves of a head turn by the same angles.
            cos.extend_from_within(cos.len() - half..);
            sin.extend_from_within(sin.len() - half..);
        }
        let shape = [positions.batch(), 1, positions.tokens(), half * 2];
        RotaryTable {
            cos: Tensor::from_data(TensorData::new(cos, shape), device),
            sin: Tensor::from_data(TensorData::new(sin, shape), device),
        }
    }
}

impl RotaryTable {
    /// The same table, rounded to `dtype`: that of the embeddings, where the reference rotates in their type
    /// (transformers `LlamaRotaryEmbedding`).
    pub fn cast(self, dtype: DType) -> Self {
        Self { cos: self.cos.cast(dtype), sin: self.sin.cast(dtype) }
    }

    /// Rotates queries or keys, in the type of the table; the output has the type of the input.
    ///
    /// # Shapes
    ///
    /// - input and output `[batch, heads, tokens, head_dim]`
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, _, width] = x.dims();
        let dtype = x.dtype();
        let x = x.cast(self.cos.dtype());
        let left = x.clone().narrow(3, 0, width / 2);
        let right = x.clone().narrow(3, width / 2, width / 2);
        let turned = Tensor::cat(vec![right.neg(), left], 3);
        (x * self.cos.clone() + turned * self.sin.clone()).cast(dtype)
    }
}
