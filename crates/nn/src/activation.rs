//! The activation functions that checkpoints name.

use burn::tensor::{Tensor, activation};
use safevlm_kernels::activation as kernels;
use serde::{Deserialize, Serialize};

use crate::ops;
use crate::precision::in_f32;

/// An activation function.
///
/// It is (de)serialised under the name that Hugging Face's `config.json` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · Φ(x)`, exact.
    Gelu,
    /// GELU's approximation by tanh.
    #[serde(rename = "gelu_pytorch_tanh", alias = "gelu_new")]
    GeluTanh,
    /// GELU's approximation by a sigmoid, `x · σ(1.702 · x)`, as OpenAI's CLIP has it.
    QuickGelu,
    /// `x · σ(x)`.
    #[serde(alias = "swish")]
    Silu,
}

impl Activation {
    /// The names that [`from_hf`](Self::from_hf) knows, for messages.
    pub const NAMES: &'static str =
        "\"gelu\", \"gelu_pytorch_tanh\", \"gelu_new\", \"quick_gelu\", \"silu\" or \"swish\"";

    /// The function of a `hidden_act` in `config.json`; `None` for a name that is not known (reference:
    /// transformers `ACT2FN`).
    pub fn from_hf(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_pytorch_tanh" | "gelu_new" => Some(Self::GeluTanh),
            "quick_gelu" => Some(Self::QuickGelu),
            "silu" | "swish" => Some(Self::Silu),
            _ => None,
        }
    }

    /// Half precision is rounded once, at the end (see [`precision`](crate::precision)).
    ///
    /// # Shapes
    ///
    /// - input and output of any shape
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (kernel, backward): (ops::Change, ops::ChangeBack) = match self {
            Self::Gelu => (kernels::gelu, kernels::gelu_backward),
            Self::GeluTanh => (kernels::gelu_tanh, kernels::gelu_tanh_backward),
            Self::QuickGelu => (kernels::quick_gelu, kernels::quick_gelu_backward),
            Self::Silu => (kernels::silu, kernels::silu_backward),
        };
        in_f32(x, |x| {
            ops::map(x, kernel, backward).unwrap_or_else(|x| match self {
                Self::Gelu => activation::gelu(x),
                Self::GeluTanh => gelu_tanh(x),
                Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
                Self::Silu => activation::silu(x),
            })
        })
    }

    /// `f(gate) · up`.
    ///
    /// # Shapes
    ///
    /// - inputs and output of one shape
    pub fn gated<const D: usize>(&self, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
        let (kernel, backward): (ops::ChangeWith, ops::ChangeWithBack) = match self {
            Self::Silu => (kernels::silu_mul, kernels::silu_mul_backward),
            Self::GeluTanh => (kernels::gelu_tanh_mul, kernels::gelu_tanh_mul_backward),
            Self::Gelu | Self::QuickGelu => return self.forward(gate) * up,
        };
        ops::map_with(gate, up, kernel, backward).unwrap_or_else(|(gate, up)| self.forward(gate) * up)
    }
}

/// `x / 2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 · x³)))`. Burn's own takes the cube as a power, which
/// is slower and, on some graphics drivers, not defined below 0.
fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    let inner = (x.clone().square() * 0.044715 + 1.0) * x.clone() * SQRT_2_OVER_PI;
    x * (inner.tanh() + 1.0) * 0.5
}
