//! The assembled model.

use burn::tensor::Device;
use safevlm_efficientnet::EfficientNet;
use safevlm_llama::Llama;
use safevlm_nn::{MlpProjector, MlpProjectorConfig, Vlm};
use safevlm_vgm::Vgm;

use crate::config::SafeSmolConfig;

/// EfficientNet-Lite0, a two-layer projector, SmolLM2 and the guard.
pub type SafeSmol = Vlm<EfficientNet, MlpProjector, Llama, Vgm>;

impl SafeSmolConfig {
    /// The graph with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> SafeSmol {
        Vlm {
            vision: self.vision.init(device),
            projector: MlpProjectorConfig::new(self.vision.head_width, self.text.hidden_size).init(device),
            language_model: self.text.init(device),
            guard: self.guard.as_ref().map(|guard| guard.head.init(device)),
        }
    }
}
