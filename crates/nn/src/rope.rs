//! Rotary position embedding in the half-split convention of Hugging Face checkpoints.

use std::iter::{repeat, repeat_n};
use std::sync::{Arc, OnceLock};

use burn::config::Config;
use burn::tensor::{DType, Device, Tensor, TensorData};
use safevlm_kernels::rope::{HeadLayout, rope, rope_backward};
use serde::{Deserialize, Serialize};

use crate::ops;
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

/// Cosines and sines for one batch; made once for all layers.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    /// `[batch, tokens, head_dim / 2]`.
    cos: Arc<[f32]>,
    /// `[batch, tokens, head_dim / 2]`.
    sin: Arc<[f32]>,
    batch: usize,
    tokens: usize,
    /// The type in which is rotated.
    dtype: DType,
    device: Device,
    /// Both on the device, `[batch, 1, tokens, head_dim]`, once they are needed there.
    tensors: OnceLock<[Tensor<4>; 2]>,
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
        let mut cos = Vec::with_capacity(tokens * half);
        let mut sin = Vec::with_capacity(tokens * half);
        for token in 0..tokens {
            for (frequency, ids) in self.inv_freq.iter().zip(&ids) {
                let angle = frequency * ids[token] as f32;
                cos.push(angle.cos());
                sin.push(angle.sin());
            }
        }
        RotaryTable {
            cos: cos.into(),
            sin: sin.into(),
            batch: positions.batch(),
            tokens: positions.tokens(),
            dtype: DType::F32,
            device: device.clone(),
            tensors: OnceLock::new(),
        }
    }
}

impl RotaryTable {
    /// The same table, rounded to `dtype`: that of the embeddings, where the reference rotates in their type
    /// (transformers `LlamaRotaryEmbedding`).
    pub fn cast(self, dtype: DType) -> Self {
        Self { dtype, tensors: OnceLock::new(), ..self }
    }

    /// Whether the table is for so many rows of so many tokens.
    pub(crate) fn fits(&self, batch: usize, tokens: usize) -> bool {
        (batch, tokens) == (self.batch, self.tokens) && self.dtype == DType::F32
    }

    /// Turns the heads of `x` in place.
    ///
    /// # Shapes
    ///
    /// - x `[batch, tokens, heads, head_dim]`
    pub(crate) fn rotate_tokens(&self, x: &mut [f32], heads: usize) {
        rope(x, &self.cos, &self.sin, self.by_token(heads));
    }

    /// The gradient of [`rotate_tokens`](Self::rotate_tokens), in place.
    pub(crate) fn rotate_tokens_back(&self, grad: &mut [f32], heads: usize) {
        rope_backward(grad, &self.cos, &self.sin, self.by_token(heads));
    }

    fn by_token(&self, heads: usize) -> HeadLayout {
        HeadLayout::by_token(heads, 2 * self.cos.len() / (self.batch * self.tokens).max(1))
    }

    /// Cosines and sines on the device.
    fn tensors(&self) -> &[Tensor<4>; 2] {
        self.tensors.get_or_init(|| {
            let half = self.cos.len() / (self.batch * self.tokens).max(1);
            // Both halves of a head turn by the same angles.
            [&self.cos, &self.sin].map(|table| {
                let twice: Vec<f32> = table.chunks(half.max(1)).flat_map(|row| [row, row].concat()).collect();
                let shape = [self.batch, 1, self.tokens, 2 * half];
                Tensor::<4>::from_data(TensorData::new(twice, shape), &self.device).cast(self.dtype)
            })
        })
    }

    /// Rotates queries or keys, in the type of the table; the output has the type of the input.
    ///
    /// # Shapes
    ///
    /// - input and output `[batch, heads, tokens, head_dim]`
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, tokens, width] = x.dims();
        let rotated = match tokens {
            _ if !self.fits(batch, tokens) => Err(x),
            1 => ops::in_place("rope", x, |x| self.rotate_tokens(x, heads)),
            _ => ops::in_place("rope", x, |x| {
                let (size, layout) = ((tokens * width / 2).max(1), HeadLayout::by_head(heads, tokens, width));
                let tables = self.cos.chunks(size).zip(self.sin.chunks(size));
                for (x, (cos, sin)) in x.chunks_mut((heads * tokens * width).max(1)).zip(tables) {
                    rope(x, cos, sin, layout);
                }
            }),
        };
        let x = match rotated {
            Ok(rotated) => return rotated,
            Err(x) => x,
        };
        let [cos, sin] = self.tensors();
        let dtype = x.dtype();
        let x = x.cast(cos.dtype());
        let left = x.clone().narrow(3, 0, width / 2);
        let right = x.clone().narrow(3, width / 2, width / 2);
        let turned = Tensor::cat(vec![right.neg(), left], 3);
        (x * cos.clone() + turned * sin.clone()).cast(dtype)
    }
}
