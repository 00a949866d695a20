//! The modules, in the order in which the data meets them.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use safevlm_nn::ops::{product, self_attention};
use safevlm_nn::rope::RotaryTable;
use safevlm_nn::{
    Activation, GatedMlp, GatedMlpConfig, ImageTokens, Linear, LinearConfig, PatchGrid, RmsNorm, RmsNormConfig, Rotary,
    RotaryConfig, VisionEncoder,
};

use crate::config::QwenVisionConfig;
use crate::layout::{GridError, PatchLayout, Run};
use crate::processor::Patches;

/// Epsilon of every norm, which no configuration names (reference: `Qwen2_5_VLVisionBlock`).
const NORM_EPSILON: f64 = 1e-6;

/// The encoder (reference: transformers `Qwen2_5_VisionTransformerPretrainedModel`).
#[derive(Module, Debug)]
pub struct QwenVision {
    /// Flattened patches to features.
    pub patch_embed: PatchEmbed,
    /// The transformer blocks.
    pub blocks: Vec<VisionBlock>,
    /// Squares of features to visual tokens.
    pub merger: PatchMerger,
    #[module(skip)]
    rotary: Rotary,
    #[module(skip)]
    full_blocks: Vec<usize>,
    #[module(skip)]
    merge: usize,
    #[module(skip)]
    window: usize,
}

/// The patch embedding.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// The convolution.
    pub proj: PatchProjection,
}

/// A convolution whose stride is its kernel: one product for all patches.
#[derive(Module, Debug)]
pub struct PatchProjection {
    /// `[hidden, channels, frames, height, width]`, as checkpoints store it.
    pub weight: Param<Tensor<5>>,
}

/// One transformer block.
#[derive(Module, Debug)]
pub struct VisionBlock {
    /// Norm before the attention.
    pub norm1: RmsNorm,
    /// Norm before the feed-forward block.
    pub norm2: RmsNorm,
    /// Attention in windows or in whole frames.
    pub attn: VisionAttention,
    /// Feed-forward block, with biases.
    pub mlp: GatedMlp,
}

/// Self-attention among the patches of each stretch.
#[derive(Module, Debug)]
pub struct VisionAttention {
    /// Queries, keys and values in one, `[3 · hidden, hidden]`.
    pub qkv: Linear,
    /// `[hidden, hidden]`.
    pub proj: Linear,
    #[module(skip)]
    heads: usize,
}

/// Makes one visual token of a square of patches.
#[derive(Module, Debug)]
pub struct PatchMerger {
    /// Norm of each patch.
    pub ln_q: RmsNorm,
    /// `mlp.0`, `[merge² · hidden, merge² · hidden]`.
    pub mlp_0: Linear,
    /// `mlp.2`, `[out_hidden, merge² · hidden]`.
    pub mlp_2: Linear,
}

impl QwenVisionConfig {
    /// An encoder with lazily drawn weights; loading a checkpoint replaces them before they are made.
    pub fn init(&self, device: &Device) -> QwenVision {
        let norm = || RmsNormConfig::new(self.hidden_size).with_eps(NORM_EPSILON).init(device);
        let linear = |i, o| LinearConfig::new(i, o).init(device);
        let block = |_| VisionBlock {
            norm1: norm(),
            norm2: norm(),
            attn: VisionAttention {
                qkv: linear(self.hidden_size, 3 * self.hidden_size),
                proj: linear(self.hidden_size, self.hidden_size),
                heads: self.num_heads,
            },
            mlp: GatedMlpConfig::new(self.hidden_size, self.intermediate_size).with_bias(true).init(device),
        };
        let (side, frames) = (self.patch_size, self.temporal_patch_size);
        let bound = 1.0 / (self.patch_values() as f64).sqrt();
        let kernel = Initializer::Uniform { min: -bound, max: bound };
        let weight = kernel.init([self.hidden_size, self.in_channels, frames, side, side], device);
        let merged = self.hidden_size * self.spatial_merge_size * self.spatial_merge_size;
        QwenVision {
            patch_embed: PatchEmbed { proj: PatchProjection { weight } },
            blocks: (0..self.depth).map(block).collect(),
            merger: PatchMerger {
                ln_q: norm(),
                mlp_0: linear(merged, merged),
                mlp_2: linear(merged, self.out_hidden_size),
            },
            rotary: RotaryConfig::new(self.head_dim()).with_theta(self.rope_theta).init_axial(2),
            full_blocks: self.fullatt_block_indexes.clone(),
            merge: self.spatial_merge_size,
            window: self.window(),
        }
    }
}

impl VisionEncoder for QwenVision {
    type Pixels = Patches;

    /// # Panics
    ///
    /// If patches and grids do not belong together, or not to this encoder, which is a mistake of the caller.
    fn encode(&self, pixels: Patches) -> ImageTokens {
        let counts = pixels.grids.iter().map(|grid| grid.merged(self.merge).patches()).collect();
        match self.forward(pixels.values, &pixels.grids) {
            Ok(tokens) => ImageTokens::new(tokens, counts),
            Err(error) => panic!("{error}"),
        }
    }
}

impl QwenVision {
    /// Encodes the images of a batch; images do not see each other.
    ///
    /// # Shapes
    ///
    /// - patches `[patches of all images, channels · frames · height · width]`
    /// - output `[visual tokens of all images, out_hidden]`, row after row, image after image
    ///
    /// # Errors
    ///
    /// If patches and grids do not belong together.
    pub fn forward(&self, patches: Tensor<2>, grids: &[PatchGrid]) -> Result<Tensor<2>, GridError> {
        let layout = self.layout(&patches, grids)?;
        let device = patches.device();
        let mut x = self.embed(patches, &layout);
        let rotary = self.rotary.table(&layout.positions, &device);
        for (nth, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &rotary, self.stretches(nth, &layout));
        }
        Ok(self.merger.forward(x, self.merge).select(0, indices(&layout.inverse, &device)))
    }

    /// The patch embeddings and the features after each block, patches in the order of the input; for tests
    /// that name the first stage that differs.
    ///
    /// # Shapes
    ///
    /// - patches as in [`forward`](Self::forward)
    /// - each output `[patches of all images, hidden]`
    ///
    /// # Errors
    ///
    /// As for [`forward`](Self::forward).
    pub fn hidden_states(&self, patches: Tensor<2>, grids: &[PatchGrid]) -> Result<Vec<Tensor<2>>, GridError> {
        let layout = self.layout(&patches, grids)?;
        let rotary = self.rotary.table(&layout.positions, &patches.device());
        let mut x = self.embed(patches, &layout);
        let mut states = vec![self.reorder(x.clone(), &layout.inverse)];
        for (nth, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &rotary, self.stretches(nth, &layout));
            states.push(self.reorder(x.clone(), &layout.inverse));
        }
        Ok(states)
    }

    /// Side of the square of patches that become one visual token.
    pub fn merge(&self) -> usize {
        self.merge
    }

    fn layout(&self, patches: &Tensor<2>, grids: &[PatchGrid]) -> Result<PatchLayout, GridError> {
        let layout = PatchLayout::new(grids, self.merge, self.window)?;
        let [found, values] = patches.dims();
        if layout.patches() != found {
            return Err(GridError::Patches { expected: layout.patches(), found });
        }
        let expected = self.patch_embed.values();
        match values == expected {
            true => Ok(layout),
            false => Err(GridError::Values { expected, found: values }),
        }
    }

    /// Patch embeddings in the layout's order, `[patches, hidden]`.
    fn embed(&self, patches: Tensor<2>, layout: &PatchLayout) -> Tensor<2> {
        self.reorder(self.patch_embed.forward(patches), &layout.order)
    }

    /// Which patches see each other in block `nth`.
    fn stretches<'a>(&self, nth: usize, layout: &'a PatchLayout) -> &'a [Run] {
        match self.full_blocks.contains(&nth) {
            true => &layout.frames,
            false => &layout.windows,
        }
    }

    /// `[patches, hidden]` with the squares of patches in another order.
    fn reorder(&self, x: Tensor<2>, order: &[usize]) -> Tensor<2> {
        let [patches, hidden] = x.dims();
        let square = self.merge * self.merge;
        let order = indices(order, &x.device());
        x.reshape([patches / square, square * hidden]).select(0, order).reshape([patches, hidden])
    }
}

impl PatchEmbed {
    /// Patches are cast to the weights' type, as the reference does: the processor makes them in f32.
    ///
    /// # Shapes
    ///
    /// - patches `[patches, channels · frames · height · width]`
    /// - output `[patches, hidden]`
    pub fn forward(&self, patches: Tensor<2>) -> Tensor<2> {
        let weight = self.proj.weight.val();
        let [hidden, ..] = weight.dims();
        product(patches.cast(weight.dtype()), weight.reshape([hidden, self.values()]))
    }

    /// Number of values in a flattened patch.
    fn values(&self) -> usize {
        self.proj.weight.lazy_shape().iter().skip(1).product()
    }
}

impl VisionBlock {
    /// # Shapes
    ///
    /// - input and output `[patches, hidden]`
    pub fn forward(&self, x: Tensor<2>, rotary: &RotaryTable, stretches: &[Run]) -> Tensor<2> {
        let attended = self.attn.forward(self.norm1.forward(x.clone()), rotary, stretches);
        let x = x + attended;
        let shape = x.dims();
        let fed = self.mlp.forward(self.norm2.forward(x.clone()).unsqueeze());
        x + fed.reshape(shape)
    }
}

impl VisionAttention {
    /// # Shapes
    ///
    /// - input and output `[patches, hidden]`
    /// - rotary: a table in which each patch is a row of its own, so that heads need not be moved; in f32,
    ///   in which the reference rotates here (`apply_rotary_pos_emb_vision`)
    pub fn forward(&self, x: Tensor<2>, rotary: &RotaryTable, stretches: &[Run]) -> Tensor<2> {
        let [patches, hidden] = x.dims();
        let qkv = self.qkv.forward_2d(x); // [patches, 3 · hidden]
        let part = |nth: usize| {
            let part = qkv.clone().narrow(1, nth * hidden, hidden);
            part.reshape([patches, self.heads, 1, hidden / self.heads])
        };
        let (query, key, value) = (rotary.rotate(part(0)), rotary.rotate(part(1)), part(2));
        let mut mixed = Vec::with_capacity(stretches.len());
        let mut start = 0;
        for run in stretches {
            let of_run = |x: &Tensor<4>| {
                let rows = x.clone().narrow(0, start, run.length * run.count);
                rows.reshape([run.count, run.length, self.heads, hidden / self.heads])
            };
            let out = self_attention([&query, &key, &value].map(of_run));
            mixed.push(out.reshape([run.length * run.count, hidden]));
            start += run.length * run.count;
        }
        self.proj.forward_2d(Tensor::cat(mixed, 0))
    }
}

impl PatchMerger {
    /// # Shapes
    ///
    /// - input `[patches, hidden]`, the `merge²` patches of a visual token one after another
    /// - output `[visual tokens, out_hidden]`
    pub fn forward(&self, x: Tensor<2>, merge: usize) -> Tensor<2> {
        let [patches, hidden] = x.dims();
        let square = merge * merge;
        let x = self.ln_q.forward(x).reshape([patches / square, square * hidden]);
        self.mlp_2.forward_2d(Activation::Gelu.forward(self.mlp_0.forward_2d(x)))
    }
}

fn indices(order: &[usize], device: &Device) -> Tensor<1, Int> {
    let order: Vec<i32> = order.iter().map(|at| *at as i32).collect();
    let count = order.len();
    Tensor::from_data(TensorData::new(order, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;

    #[test]
    fn parameters_are_those_of_the_published_checkpoints() {
        // With the language models' 3,085,938,688, 7,615,616,512 and 32,763,876,352 parameters these are the
        // totals of the published files: 3,754,622,976, 8,292,166,656 and 33,452,718,336.
        let counts = PRESETS.map(|preset| preset.config().init(&Device::flex()).num_params());
        assert_eq!(counts, [668_684_288, 676_550_144, 688_841_984]);
    }
}
