//! The encoder, in the order in which data meets its parts.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use safevlm_nn::{
    Embedding, EncoderLayer, EncoderLayerConfig, ImageTokens, LayerNorm, LayerNormConfig, PatchEmbedding,
    PatchEmbeddingConfig, VisionEncoder,
};

use crate::config::SiglipVisionConfig;

/// A SigLIP vision encoder without its pooling head (reference: transformers `SiglipVisionModel`).
#[derive(Module, Debug)]
pub struct SiglipVision {
    /// Pixels to tokens.
    pub embeddings: SiglipEmbeddings,
    /// The layers.
    pub layers: Vec<EncoderLayer>,
    /// The final norm.
    pub post_layernorm: LayerNorm,
}

/// Patches with their positions; there is no class token.
#[derive(Module, Debug)]
pub struct SiglipEmbeddings {
    /// Patches to tokens.
    pub patch_embedding: PatchEmbedding,
    /// One position for each patch, `[patches, hidden]`.
    pub position_embedding: Embedding,
}

impl SiglipVisionConfig {
    /// An encoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> SiglipVision {
        let layer = EncoderLayerConfig::new(
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.hidden_act,
        )
        .with_eps(self.layer_norm_eps);
        SiglipVision {
            embeddings: SiglipEmbeddings {
                patch_embedding: PatchEmbeddingConfig::new(self.patch_size, self.hidden_size).init(device),
                position_embedding: Embedding::new(self.tokens(), self.hidden_size, device),
            },
            layers: (0..self.num_hidden_layers).map(|_| layer.init(device)).collect(),
            post_layernorm: LayerNormConfig::new(self.hidden_size).with_eps(self.layer_norm_eps).init(device),
        }
    }
}

impl SiglipEmbeddings {
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - output `[images, patches, hidden]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<3> {
        self.patch_embedding.forward(pixels) + self.position_embedding.weight.val().unsqueeze()
    }
}

impl SiglipVision {
    /// The hidden states before the first layer and after each layer, without the final norm; for
    /// tests that name the first stage that differs.
    ///
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - each output `[images, patches, hidden]`
    pub fn hidden_states(&self, pixels: Tensor<4>) -> Vec<Tensor<3>> {
        let mut states = vec![self.embeddings.forward(pixels)];
        for layer in &self.layers {
            states.push(layer.forward(states[states.len() - 1].clone()));
        }
        states
    }
}

impl SiglipVision {
    /// The states after the last norm.
    ///
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - output `[images, patches, hidden]`
    pub fn features(&self, pixels: Tensor<4>) -> Tensor<3> {
        let embedded = self.embeddings.forward(pixels);
        let x = self.layers.iter().fold(embedded, |x, layer| layer.forward(x));
        self.post_layernorm.forward(x)
    }
}

impl VisionEncoder for SiglipVision {
    type Pixels = Tensor<4>;

    fn encode(&self, pixels: Tensor<4>) -> ImageTokens {
        ImageTokens::equal(self.features(pixels))
    }
}
