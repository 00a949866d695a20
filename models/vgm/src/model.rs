//! The guard head itself.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};
use safevlm_nn::precision::widened;
use safevlm_nn::{Activation, GuardHead, GuardInput, ImageTokens, Linear, LinearConfig};

use crate::config::VgmConfig;

/// Mean pool of the language model's last hidden states over the visual tokens, then
/// Linear → exact GELU → Dropout → Linear.
///
/// The paper's v5 text and the parameter count on the model card (6.46 M for SafeQwen2.5-VL-7B) fix
/// this shape; the dropout rate and the GELU variant are second-hand.
///
/// The paper's v1 has a safety meta token instead of the pool: an embedding of its own behind the visual
/// tokens of each image, whose state is what the head classifies.
#[derive(Module, Debug)]
pub struct Vgm {
    /// `[inner, hidden]`.
    pub fc1: Linear,
    /// `[classes, inner]`.
    pub fc2: Linear,
    /// The safety meta token of v1, `[1, hidden]`.
    pub meta_token: Option<Param<Tensor<2>>>,
    dropout: Dropout,
    #[module(skip)]
    input: GuardInput,
}

impl VgmConfig {
    /// A head with default initialisation.
    pub fn init(&self, device: &Device) -> Vgm {
        let meta_token = self.safety_meta_token.then(|| {
            let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
            normal.init([1, self.hidden_size], device)
        });
        Vgm {
            fc1: LinearConfig::new(self.hidden_size, self.inner()).init(device),
            fc2: LinearConfig::new(self.inner(), self.num_safety_categories).init(device),
            meta_token,
            dropout: DropoutConfig::new(self.dropout).init(),
            input: self.guard_input,
        }
    }
}

impl Vgm {
    /// The same head with another share of values that are dropped between its layers while it is trained.
    pub fn with_dropout(mut self, share: f64) -> Self {
        self.dropout = DropoutConfig::new(share).init();
        self
    }

    /// Logits of pooled states, in f32.
    ///
    /// # Shapes
    ///
    /// - pooled `[rows, hidden]`
    /// - output `[rows, classes]`
    pub fn forward(&self, pooled: Tensor<2>) -> Tensor<2> {
        let pooled = pooled.cast(self.fc1.weight.val().dtype());
        let inner = Activation::Gelu.forward(self.fc1.forward_2d(pooled));
        widened(self.fc2.forward_2d(self.dropout.forward(inner)))
    }
}

impl GuardHead for Vgm {
    fn classify(&self, states: ImageTokens) -> Tensor<2> {
        // In f32, since the mean of hundreds of tokens is rounded badly in half precision.
        let states = states.map(widened);
        self.forward(if self.meta_token.is_some() { states.last() } else { states.mean() })
    }

    fn input(&self) -> GuardInput {
        self.input
    }

    fn meta_token(&self) -> Option<Tensor<2>> {
        self.meta_token.as_ref().map(Param::val)
    }
}
