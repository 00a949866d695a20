//! The modules, in the order in which the data meets them.

use burn::module::{Initializer, Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use safevlm_core::host::is_plain;
use safevlm_nn::ops::{Moves, convolution};
use safevlm_nn::{ImageTokens, Linear, LinearConfig, VisionEncoder};

use crate::config::{BATCH_NORM_EPSILON, EfficientNetConfig};

impl EfficientNetConfig {
    /// A network with PyTorch's default initialisation, drawn lazily on `device`.
    pub fn init(&self, device: &Device) -> EfficientNet {
        let conv = |channels, kernel, stride| ConvNorm::new(channels, kernel, stride, device);
        let mut blocks = Vec::new();
        let mut width = self.stem_width;
        for stage in &self.stages {
            for n in 0..stage.repeats {
                let stride = if n == 0 { stage.stride } else { 1 };
                let inner = width * stage.expansion;
                blocks.push(InvertedResidual {
                    expand_conv: (stage.expansion > 1).then(|| conv(Channels::Mixed(width, inner), 1, 1)),
                    depthwise_conv: conv(Channels::Separate(inner), stage.kernel, stride),
                    project_conv: conv(Channels::Mixed(inner, stage.width), 1, 1),
                    residual: stride == 1 && width == stage.width,
                });
                width = stage.width;
            }
        }
        EfficientNet {
            conv_stem: conv(Channels::Mixed(3, self.stem_width), 3, 2),
            blocks,
            conv_head: conv(Channels::Mixed(width, self.head_width), 1, 1),
            fc: (self.num_classes > 0).then(|| LinearConfig::new(self.head_width, self.num_classes).init(device)),
        }
    }
}

/// An EfficientNet-Lite (reference: timm `EfficientNet`).
#[derive(Module, Debug)]
pub struct EfficientNet {
    /// 3x3, stride 2.
    pub conv_stem: ConvNorm,
    /// The blocks of all stages.
    pub blocks: Vec<InvertedResidual>,
    /// 1x1, to the width of the feature map.
    pub conv_head: ConvNorm,
    /// The ImageNet classifier.
    pub fc: Option<Linear>,
}

impl EfficientNet {
    /// # Shapes
    ///
    /// - pixels `[batch, 3, height, width]`, normalised to -1..=1
    /// - output `[batch, head_width, height / 32, width / 32]`, sides rounded up
    pub fn forward_features(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.forward_from(self.forward_until(pixels, self.blocks.len()), self.blocks.len())
    }

    /// The first half of [`forward_features`](Self::forward_features): all before the block `cut`.
    /// Where only the rest is trained, its result need not be computed twice.
    ///
    /// # Shapes
    ///
    /// - pixels `[batch, 3, height, width]`, normalised to -1..=1; cast to the weights' type
    /// - output `[batch, width of the block before, its height, its width]`; Lite0 before block 11 has
    ///   `[batch, 112, 14, 14]`
    pub fn forward_until(&self, pixels: Tensor<4>, cut: usize) -> Tensor<4> {
        let pixels = pixels.cast(self.conv_stem.weight.val().dtype());
        let stem = self.conv_stem.forward_cut(pixels);
        self.blocks.iter().take(cut).fold(stem, |x, block| block.forward(x))
    }

    /// The second half: the block `cut`, those behind it, and the head.
    ///
    /// # Shapes
    ///
    /// - map as [`forward_until`](Self::forward_until) returns it for the same `cut`
    /// - output as of [`forward_features`](Self::forward_features)
    pub fn forward_from(&self, map: Tensor<4>, cut: usize) -> Tensor<4> {
        let x = self.blocks.iter().skip(cut).fold(map, |x, block| block.forward(x));
        self.conv_head.forward_cut(x)
    }

    /// Logits of the ImageNet classifier; of a network without one, the mean features.
    ///
    /// # Shapes
    ///
    /// - pixels `[batch, 3, height, width]`, normalised to -1..=1
    /// - output `[batch, classes]`, or `[batch, head_width]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let features = self.forward_features(pixels).flatten::<3>(2, 3);
        let pooled = features.mean_dim(2).squeeze_dim::<2>(2);
        match &self.fc {
            Some(fc) => fc.forward_2d(pooled),
            None => pooled,
        }
    }
}

impl EfficientNet {
    /// The last feature map as tokens.
    ///
    /// # Shapes
    ///
    /// - pixels `[images, 3, image_size, image_size]`
    /// - output `[images, places, head_width]`
    pub fn features(&self, pixels: Tensor<4>) -> Tensor<3> {
        Self::tokens(self.forward_features(pixels))
    }

    /// A feature map as tokens, rows of it one after another.
    ///
    /// # Shapes
    ///
    /// - map `[images, width, rows, columns]`
    /// - output `[images, rows · columns, width]`
    pub fn tokens(map: Tensor<4>) -> Tensor<3> {
        map.flatten::<3>(2, 3).swap_dims(1, 2)
    }
}

impl VisionEncoder for EfficientNet {
    type Pixels = Tensor<4>;

    fn encode(&self, pixels: Tensor<4>) -> ImageTokens {
        ImageTokens::equal(self.features(pixels))
    }
}

/// Expand, filter each channel, project; with a residual where the shape allows it (timm:
/// `InvertedResidual`, and without expansion `DepthwiseSeparableConv`).
#[derive(Module, Debug)]
pub struct InvertedResidual {
    /// 1x1, to the inner width.
    pub expand_conv: Option<ConvNorm>,
    /// One kernel for each channel.
    pub depthwise_conv: ConvNorm,
    /// 1x1, to the output's width; no activation behind it.
    pub project_conv: ConvNorm,
    #[module(skip)]
    residual: bool,
}

impl InvertedResidual {
    /// # Shapes
    ///
    /// - input `[batch, width, height, width]`
    /// - output `[batch, new width, height / stride, width / stride]`, sides rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let skip = self.residual.then(|| x.clone());
        let x = match &self.expand_conv {
            Some(expand) => expand.forward_cut(x),
            None => x,
        };
        let x = self.depthwise_conv.forward_cut(x);
        let x = self.project_conv.forward(x);
        match skip {
            Some(skip) => x + skip,
            None => x,
        }
    }
}

/// Which input channels an output channel sees.
enum Channels {
    /// From so many to so many, each of all.
    Mixed(usize, usize),
    /// Each of itself only.
    Separate(usize),
}

/// A convolution with TensorFlow's "SAME" padding, without bias, and the batch norm behind it.
///
/// On a CPU the norm and the cut are part of the convolution's last step, so that its output is written once.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// `[out, in / groups, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// Over the output channels.
    pub norm: BatchNorm,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    groups: usize,
}

impl ConvNorm {
    fn new(channels: Channels, kernel: usize, stride: usize, device: &Device) -> Self {
        let (inputs, outputs, groups) = match channels {
            Channels::Mixed(inputs, outputs) => (inputs, outputs, 1),
            Channels::Separate(width) => (1, width, width),
        };
        let bound = 1.0 / ((inputs * kernel * kernel) as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        Self {
            weight: uniform.init([outputs, inputs, kernel, kernel], device),
            norm: BatchNorm::new(outputs, device),
            stride,
            groups,
        }
    }

    /// # Shapes
    ///
    /// - input `[batch, in, height, width]`
    /// - output `[batch, out, height / stride, width / stride]`, sides rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.convolve(x, None)
    }

    /// [`forward`](Self::forward), cut off below 0 and above 6.
    fn forward_cut(&self, x: Tensor<4>) -> Tensor<4> {
        self.convolve(x, Some([0.0, 6.0]))
    }

    fn convolve(&self, x: Tensor<4>, cut: Option<[f32; 2]>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let weight = self.weight.val();
        let [channels, _, kernel, _] = weight.dims();
        let padding = [height, width].map(|side| same_padding(side, kernel, self.stride));
        let moves = Moves { stride: self.stride, padding, groups: self.groups };
        let on_host = || {
            let [scale, shift] = self.norm.scale_and_shift();
            convolution(&x, &weight, &moves, [&scale, &shift], cut)
        };
        if let Some(y) = is_plain(&x).then(on_host).flatten() {
            return y;
        }
        let options = ConvOptions::new_with_padding([self.stride; 2], padding, [1, 1], self.groups);
        let x = conv2d(x, weight, None, options);
        let [scale, shift] = self.norm.scale_and_shift().map(|of_channel| of_channel.reshape([1, channels, 1, 1]));
        let x = x * scale + shift;
        match cut {
            Some([least, most]) => x.clamp(least, most),
            None => x,
        }
    }
}

/// Zeros before and after a side: as many as an output of `ceil(side / stride)` needs, the odd one
/// behind (timm: `pad_same`; PyTorch's symmetric padding would shift every strided layer by a pixel).
fn same_padding(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let outputs = side.div_ceil(stride);
    let total = (outputs.saturating_sub(1) * stride + kernel).saturating_sub(side);
    (total / 2, total - total / 2)
}

/// Batch normalisation that always uses the checkpoint's statistics, also in training: batches of a
/// fine-tuning are too small and too unlike ImageNet to estimate their own.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// `[channels]`, never trained.
    pub running_mean: Param<Tensor<1>>,
    /// `[channels]`, never trained.
    pub running_var: Param<Tensor<1>>,
}

impl BatchNorm {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
            running_mean: Initializer::Zeros.init([channels], device),
            running_var: Initializer::Ones.init([channels], device),
        }
    }

    /// What each channel is multiplied with, and what is then added to it.
    ///
    /// # Shapes
    ///
    /// - each `[channels]`
    fn scale_and_shift(&self) -> [Tensor<1>; 2] {
        let deviation = (self.running_var.val().detach() + BATCH_NORM_EPSILON).sqrt();
        let scale = self.weight.val() / deviation;
        let shift = self.bias.val() - self.running_mean.val().detach() * scale.clone();
        [scale, shift]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;

    #[test]
    fn published_sizes_have_timms_number_of_values() {
        let sizes = PRESETS.map(|preset| preset.config().init(&Device::flex()).num_params());
        assert_eq!(sizes, [4_694_024, 5_470_344, 6_150_168, 8_273_768, 13_118_936]);
    }

    #[test]
    fn cut_anywhere_the_halves_make_the_whole() {
        let config = EfficientNetConfig::from_hf(&serde_json::json!({
            "stem_width": 4, "head_width": 8, "num_classes": 0, "image_size": 20, "crop_pct": 1.0,
            "interpolation": "bilinear", "stages": [
                { "repeats": 1, "kernel": 3, "stride": 1, "expansion": 1, "width": 4 },
                { "repeats": 2, "kernel": 5, "stride": 2, "expansion": 2, "width": 6 },
            ],
        }));
        let device = Device::flex();
        let model = config.unwrap().init(&device);
        let pixels = Tensor::random([2, 3, 20, 20], burn::tensor::Distribution::Uniform(-1.0, 1.0), &device);
        let whole = model.forward_features(pixels.clone()).into_data();
        for cut in 0..=model.blocks.len() {
            let halves = model.forward_from(model.forward_until(pixels.clone(), cut), cut);
            assert_eq!(halves.into_data(), whole, "cut before block {cut}");
        }
    }

    #[test]
    fn padding_is_tensorflows() {
        assert_eq!(same_padding(224, 3, 2), (0, 1));
        assert_eq!(same_padding(33, 3, 2), (1, 1));
        assert_eq!(same_padding(56, 5, 2), (1, 2));
        assert_eq!(same_padding(14, 5, 1), (2, 2));
        assert_eq!(same_padding(7, 1, 1), (0, 0));
        assert_eq!(same_padding(1, 1, 2), (0, 0));
    }
}
