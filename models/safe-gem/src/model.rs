//! The assembled model.

use burn::tensor::Device;
use safevlm_gemma::{Gemma, GemmaProjector};
use safevlm_nn::Vlm;
use safevlm_siglip::SiglipVision;
use safevlm_vgm::Vgm;

use crate::config::SafeGemConfig;

/// SigLIP, Gemma 3's projector, Gemma 3 and the guard.
pub type SafeGem = Vlm<SiglipVision, GemmaProjector, Gemma, Vgm>;

impl SafeGemConfig {
    /// The graph with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> SafeGem {
        Vlm {
            vision: self.vision.init(device),
            projector: self.projector.init(device),
            language_model: self.text.init(device),
            guard: self.guard.as_ref().map(|guard| guard.head.init(device)),
        }
    }
}
