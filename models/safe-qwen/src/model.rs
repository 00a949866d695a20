//! The assembled model.

use burn::tensor::Device;
use safevlm_nn::{NoProjector, Vlm};
use safevlm_qwen::Qwen;
use safevlm_qwen_vision::QwenVision;
use safevlm_vgm::Vgm;

use crate::config::SafeQwenConfig;

/// Qwen2.5-VL's encoder, whose merger is the projector, its language model and the guard (reference: transformers
/// `Qwen2_5_VLForConditionalGeneration`).
pub type SafeQwen = Vlm<QwenVision, NoProjector, Qwen, Vgm>;

impl SafeQwenConfig {
    /// The graph with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> SafeQwen {
        Vlm {
            vision: self.vision.init(device),
            projector: NoProjector,
            language_model: self.text.init(device),
            guard: self.guard.as_ref().map(|guard| guard.head.init(device)),
        }
    }
}
