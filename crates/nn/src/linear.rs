//! A linear layer in the checkpoints' own layout, with an optional LoRA branch.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Distribution, Tensor};

use crate::ops;
use crate::weight::Weight;

/// Configuration of a [`Linear`] layer.
#[derive(Config, Debug)]
pub struct LinearConfig {
    /// Width of the input.
    pub d_input: usize,
    /// Width of the output.
    pub d_output: usize,
    /// Whether a bias is added.
    #[config(default = true)]
    pub bias: bool,
}

impl LinearConfig {
    /// A layer with PyTorch's default initialisation, drawn lazily on `device`.
    pub fn init(&self, device: &Device) -> Linear {
        let bound = 1.0 / (self.d_input.max(1) as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        Linear {
            weight: Weight::Float(uniform.init([self.d_output, self.d_input], device)),
            bias: self.bias.then(|| uniform.init([self.d_output], device)),
            lora: None,
        }
    }
}

/// `y = x · Wᵀ + b`, with `W` kept `[out, in]` as checkpoints store it.
///
/// The product is taken in 2-D: on Burn's `flex` backend any other form copies the weight.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_output, d_input]`.
    pub weight: Weight,
    /// Bias, `[d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// A trainable low-rank branch beside the frozen weight.
    pub lora: Option<LoraAdapter>,
}

/// Configuration of a [`LoraAdapter`].
#[derive(Config, Debug)]
pub struct LoraAdapterConfig {
    /// Width between its two matrices.
    pub rank: usize,
    /// Its scale is `alpha / rank`.
    pub alpha: f64,
    /// Share of its input that is dropped while it is trained, below 1.
    #[config(default = 0.0)]
    pub dropout: f64,
}

/// LoRA (arXiv 2106.09685): `y += scale · (dropout(x) · Aᵀ) · Bᵀ`, with PEFT's shapes.
///
/// Burn's own adapter composes the dense `W + s·A·B` in every forward pass, which costs as much as
/// full fine-tuning; two thin products cost next to nothing.
#[derive(Module, Debug)]
pub struct LoraAdapter {
    /// `lora_A.weight`, `[rank, d_input]`.
    pub a: Param<Tensor<2>>,
    /// `lora_B.weight`, `[d_output, rank]`; zero at the start, so that nothing changes.
    pub b: Param<Tensor<2>>,
    /// `alpha / rank`.
    #[module(skip)]
    pub scale: f64,
    /// Acts on its input alone, and while it is trained.
    pub dropout: Dropout,
}

impl LoraAdapter {
    /// # Shapes
    ///
    /// - input `[rows, d_input]`
    /// - output `[rows, d_output]`, to be added
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let low = ops::product(self.dropout.forward(x), self.a.val()).mul_scalar(self.scale);
        ops::product(low, self.b.val())
    }
}

impl Linear {
    /// # Shapes
    ///
    /// - input `[batch, tokens, d_input]`
    /// - output `[batch, tokens, d_output]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let y = self.forward_2d(x.reshape([batch * tokens, width]));
        let [_, out] = y.dims();
        y.reshape([batch, tokens, out])
    }

    /// [`forward`](Self::forward) of several layers with one input, which on a CPU is prepared once for all.
    ///
    /// # Shapes
    ///
    /// - input `[batch, tokens, d_input]`
    /// - outputs `[batch, tokens, d_output of each]`
    pub fn forward_together<const N: usize>(layers: [&Self; N], x: Tensor<3>) -> [Tensor<3>; N] {
        if layers.iter().any(|layer| layer.lora.is_some()) {
            return layers.map(|layer| layer.forward(x.clone()));
        }
        let [batch, tokens, width] = x.dims();
        let products = ops::products(&x.reshape([batch * tokens, width]), layers.map(|layer| &layer.weight));
        let mut nth = 0;
        products.map(|y| {
            let y = layers[nth].with_bias(y);
            nth += 1;
            let [_, out] = y.dims();
            y.reshape([batch, tokens, out])
        })
    }

    /// # Shapes
    ///
    /// - input `[rows, d_input]`
    /// - output `[rows, d_output]`
    pub fn forward_2d(&self, x: Tensor<2>) -> Tensor<2> {
        let y = match (&self.lora, self.weight.param()) {
            (Some(LoraAdapter { a, b, scale, dropout }), Some(weight)) if dropout.prob == 0.0 => {
                ops::adapted_product(x, weight.val(), [a.val(), b.val()], *scale)
            }
            (Some(lora), Some(weight)) => ops::product(x.clone(), weight.val()) + lora.forward(x),
            (Some(lora), None) => {
                let [y] = ops::products(&x, [&self.weight]);
                y + lora.forward(x)
            }
            (None, _) => {
                let [y] = ops::products(&x, [&self.weight]);
                y
            }
        };
        self.with_bias(y)
    }

    fn with_bias(&self, y: Tensor<2>) -> Tensor<2> {
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze::<2>(),
            None => y,
        }
    }

    /// Freezes the layer and puts a fresh trainable adapter beside its weight, of the same type.
    pub fn with_lora(mut self, config: &LoraAdapterConfig) -> Self {
        let LoraAdapterConfig { rank, alpha, dropout } = *config;
        let [d_output, d_input] = self.weight.dims();
        let (device, dtype) = (self.weight.device(), self.weight.dtype());
        self = self.no_grad();
        let std = 1.0 / (d_input as f64).sqrt();
        let a = Tensor::random([rank, d_input], Distribution::Normal(0.0, std), (&device, dtype));
        self.lora = Some(LoraAdapter {
            a: Param::from_tensor(a),
            b: Param::from_tensor(Tensor::zeros([d_output, rank], (&device, dtype))),
            scale: alpha / rank as f64,
            dropout: DropoutConfig::new(dropout).init(),
        });
        self
    }
}
