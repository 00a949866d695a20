//! The guard head itself.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Bool, Device, Tensor};
use safevlm_nn::precision::widened;
use safevlm_nn::{Activation, GuardHead, Linear, LinearConfig};

use crate::config::VgmConfig;

/// Mean pool of the language model's last hidden states over the visual tokens, then
/// Linear → exact GELU → Dropout → Linear.
///
/// The paper's v5 text and the parameter count on the model card (6.46 M for SafeQwen2.5-VL-7B) fix
/// this shape; the dropout rate and the GELU variant are second-hand.
#[derive(Module, Debug)]
pub struct Vgm {
    /// `[inner, hidden]`.
    pub fc1: Linear,
    /// `[classes, inner]`.
    pub fc2: Linear,
    dropout: Dropout,
}

impl VgmConfig {
    /// A head with default initialisation.
    pub fn init(&self, device: &Device) -> Vgm {
        Vgm {
            fc1: LinearConfig::new(self.hidden_size, self.inner()).init(device),
            fc2: LinearConfig::new(self.inner(), self.num_safety_categories).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl Vgm {
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
    fn classify(&self, hidden: Tensor<3>, visual: Tensor<2, Bool>) -> Tensor<2> {
        let [batch, tokens, width] = hidden.dims();
        // Pooling is a product with the mask's share of each token, which keeps padding and text out; in
        // f32, since a share of hundreds of tokens is rounded badly in half precision.
        let mask = visual.float();
        let count = mask.clone().sum_dim(1).clamp_min(1.0);
        let share = (mask / count).reshape([batch, 1, tokens]);
        self.forward(share.matmul(widened(hidden)).reshape([batch, width]))
    }
}
