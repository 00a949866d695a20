//! From the vision tower's patches to visual tokens.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use safevlm_nn::{ImageTokens, Projector, RmsNorm, RmsNormConfig, precision::in_f32};
use serde_json::Value;

use crate::config::{GemmaConfigError, number, present, size, wrong};

/// Configuration of a [`GemmaProjector`].
#[derive(Config, Debug, PartialEq)]
pub struct GemmaProjectorConfig {
    /// Width of the vision features.
    pub vision: usize,
    /// Width of the language model.
    pub hidden: usize,
    /// Patches on one side of the image.
    #[config(default = 64)]
    pub patches_per_side: usize,
    /// Visual tokens on one side of the image, a divisor of the patches.
    #[config(default = 16)]
    pub tokens_per_side: usize,
    /// Epsilon of the norm.
    #[config(default = 1e-6)]
    pub eps: f64,
}

impl GemmaProjectorConfig {
    /// Reads the configuration of a model with vision; `hidden` is the language model's width.
    ///
    /// # Errors
    ///
    /// If a key is missing or has an impossible value, or patches cannot be pooled to tokens evenly.
    pub fn from_hf(config: &Value, hidden: usize) -> Result<Self, GemmaConfigError> {
        let vision = present(config, "vision_config").ok_or_else(|| wrong(config, "vision_config", "there"))?;
        let patches_per_side = size(vision, "image_size", None)? / size(vision, "patch_size", None)?;
        let tokens = size(config, "mm_tokens_per_image", Some(256))?;
        let tokens_per_side = tokens.isqrt();
        if tokens_per_side * tokens_per_side != tokens
            || patches_per_side == 0
            || patches_per_side % tokens_per_side != 0
        {
            let expected = format!("the square of a divisor of the {patches_per_side} patches on a side");
            return Err(wrong(config, "mm_tokens_per_image", &expected));
        }
        Ok(Self::new(size(vision, "hidden_size", None)?, hidden)
            .with_patches_per_side(patches_per_side)
            .with_tokens_per_side(tokens_per_side)
            .with_eps(number(vision, "layer_norm_eps", 1e-6)?))
    }

    /// The projector with default initialisation.
    pub fn init(&self, device: &Device) -> GemmaProjector {
        let normal = Initializer::Normal { mean: 0.0, std: 1.0 / (self.vision as f64).sqrt() };
        GemmaProjector {
            mm_soft_emb_norm: RmsNormConfig::new(self.vision).with_eps(self.eps).with_unit_offset(true).init(device),
            mm_input_projection_weight: normal.init([self.vision, self.hidden], device),
            tokens_per_side: self.tokens_per_side,
            pool: self.patches_per_side / self.tokens_per_side,
        }
    }

    /// Visual tokens of one image: 256 in the published sizes.
    pub fn tokens(&self) -> usize {
        self.tokens_per_side * self.tokens_per_side
    }
}

/// Averages square groups of patches, norms them, and projects them to the language model's width
/// (reference: transformers `Gemma3MultiModalProjector`).
#[derive(Module, Debug)]
pub struct GemmaProjector {
    /// Norm of the pooled features.
    pub mm_soft_emb_norm: RmsNorm,
    /// `[vision, hidden]`: unlike the weight of a linear layer it is stored input first.
    pub mm_input_projection_weight: Param<Tensor<2>>,
    #[module(skip)]
    tokens_per_side: usize,
    #[module(skip)]
    pool: usize,
}

impl GemmaProjector {
    /// Means over groups of `pool · pool` patches, taken in f32.
    ///
    /// # Shapes
    ///
    /// - features `[images, patches, vision]`, rows of the feature map one after another
    /// - output `[images, tokens, vision]`
    pub fn pool(&self, features: Tensor<3>) -> Tensor<3> {
        let [images, _, width] = features.dims();
        let (side, pool) = (self.tokens_per_side, self.pool);
        in_f32(features, |features| {
            let rows = features.reshape([images * side, pool, side * pool * width]).mean_dim(1);
            let both = rows.reshape([images * side * side, pool, width]).mean_dim(1);
            both.reshape([images, side * side, width])
        })
    }
}

impl Projector for GemmaProjector {
    /// # Panics
    ///
    /// If the images have not as many patches as the projector pools, which is a mistake of the caller.
    fn project(&self, features: ImageTokens) -> ImageTokens {
        let patches = (self.tokens_per_side * self.pool).pow(2);
        let states = features.states();
        let [_, width] = states.dims();
        let pooled = self.pool(states.reshape([features.images(), patches, width]));
        let weight = self.mm_input_projection_weight.val();
        ImageTokens::equal(self.mm_soft_emb_norm.forward(pooled)).map(|x| x.matmul(weight))
    }
}
