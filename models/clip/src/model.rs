//! The encoder, in the order in which data meets its parts.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use safevlm_nn::{
    Embedding, EncoderLayer, EncoderLayerConfig, ImageTokens, LayerNorm, LayerNormConfig, PatchEmbedding,
    PatchEmbeddingConfig, VisionEncoder,
};

use crate::config::ClipVisionConfig;

/// A CLIP vision encoder (reference: transformers `CLIPVisionModel`).
///
/// All of a checkpoint is loaded, so that nothing is lost when the model is saved again; what lies
/// behind the last selected layer is not computed.
#[derive(Module, Debug)]
pub struct ClipVision {
    /// Pixels to tokens.
    pub embeddings: ClipEmbeddings,
    /// Norm before the first layer; the checkpoints spell it so.
    pub pre_layrnorm: LayerNorm,
    /// The layers.
    pub layers: Vec<EncoderLayer>,
    /// Norm of the class token after the last layer; features are taken before it.
    pub post_layernorm: LayerNorm,
    /// The selected hidden states, 0 being the input of the first layer.
    #[module(skip)]
    selected: Vec<usize>,
    #[module(skip)]
    class_token: bool,
}

/// Patches and class token, with their positions.
#[derive(Module, Debug)]
pub struct ClipEmbeddings {
    /// The token before the patches, `[hidden]`.
    pub class_embedding: Param<Tensor<1>>,
    /// Patches to tokens.
    pub patch_embedding: PatchEmbedding,
    /// One position for the class token and each patch, `[1 + patches, hidden]`.
    pub position_embedding: Embedding,
}

impl ClipVisionConfig {
    /// An encoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> ClipVision {
        let norm = || LayerNormConfig::new(self.hidden_size).with_eps(self.layer_norm_eps).init(device);
        let layer = EncoderLayerConfig::new(
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.hidden_act,
        )
        .with_eps(self.layer_norm_eps);
        let normal = Initializer::Normal { mean: 0.0, std: 1.0 / (self.hidden_size as f64).sqrt() };
        ClipVision {
            embeddings: ClipEmbeddings {
                class_embedding: normal.init([self.hidden_size], device),
                patch_embedding: PatchEmbeddingConfig::new(self.patch_size, self.hidden_size)
                    .with_bias(false)
                    .init(device),
                position_embedding: Embedding::new(1 + self.patches(), self.hidden_size, device),
            },
            pre_layrnorm: norm(),
            layers: (0..self.num_hidden_layers).map(|_| layer.init(device)).collect(),
            post_layernorm: norm(),
            selected: self.features.resolve(self.num_hidden_layers),
            class_token: self.features.class_token,
        }
    }
}

impl ClipEmbeddings {
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - output `[images, 1 + patches, hidden]`, the class token first
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<3> {
        let patches = self.patch_embedding.forward(pixels);
        let [images, _, hidden] = patches.dims();
        let class = self.class_embedding.val().reshape([1, 1, hidden]).repeat_dim(0, images);
        Tensor::cat(vec![class, patches], 1) + self.position_embedding.weight.val().unsqueeze()
    }
}

impl ClipVision {
    /// The hidden states before the first layer and after each layer; for tests that name the first
    /// stage that differs.
    ///
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - each output `[images, 1 + patches, hidden]`
    pub fn hidden_states(&self, pixels: Tensor<4>) -> Vec<Tensor<3>> {
        let all: Vec<usize> = (0..=self.layers.len()).collect();
        self.states(pixels, &all)
    }

    /// The class token after the last layer and its norm, which stands for the whole image.
    ///
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - output `[images, hidden]`
    pub fn pooled(&self, pixels: Tensor<4>) -> Tensor<2> {
        let class = self.states(pixels, &[self.layers.len()]).remove(0).narrow(1, 0, 1);
        self.post_layernorm.forward(class.squeeze_dim(1))
    }

    /// The hidden states `wanted`, in that order, without keeping or computing more.
    fn states(&self, pixels: Tensor<4>, wanted: &[usize]) -> Vec<Tensor<3>> {
        let mut kept = vec![None; wanted.len()];
        let mut x = self.pre_layrnorm.forward(self.embeddings.forward(pixels));
        for nth in 0..=wanted.iter().copied().max().unwrap_or(0) {
            if nth > 0 {
                x = self.layers[nth - 1].forward(x);
            }
            for (keep, _) in kept.iter_mut().zip(wanted).filter(|(_, wanted)| **wanted == nth) {
                *keep = Some(x.clone());
            }
        }
        kept.into_iter().flatten().collect()
    }
}

impl ClipVision {
    /// The selected features: of several layers, side by side in each token.
    ///
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - output `[images, tokens, width]`
    pub fn features(&self, pixels: Tensor<4>) -> Tensor<3> {
        let features = Tensor::cat(self.states(pixels, &self.selected), 2);
        let [_, tokens, _] = features.dims();
        match self.class_token {
            true => features,
            false => features.narrow(1, 1, tokens - 1),
        }
    }
}

impl VisionEncoder for ClipVision {
    type Pixels = Tensor<4>;

    fn encode(&self, pixels: Tensor<4>) -> ImageTokens {
        ImageTokens::equal(self.features(pixels))
    }
}
