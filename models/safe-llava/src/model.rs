//! The assembled model.

use burn::tensor::Device;
use safevlm_clip::ClipVision;
use safevlm_llama::Llama;
use safevlm_nn::{MlpProjector, MlpProjectorConfig, Vlm};
use safevlm_vgm::Vgm;

use crate::config::SafeLlavaConfig;

/// CLIP, a two-layer projector, a Llama-style language model and the guard (reference: transformers
/// `LlavaForConditionalGeneration`).
pub type SafeLlava = Vlm<ClipVision, MlpProjector, Llama, Vgm>;

impl SafeLlavaConfig {
    /// The graph with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> SafeLlava {
        Vlm {
            vision: self.vision.init(device),
            projector: MlpProjectorConfig::new(self.vision.feature_width(), self.text.hidden_size).init(device),
            language_model: self.text.init(device),
            guard: self.guard.as_ref().map(|guard| guard.head.init(device)),
        }
    }
}
