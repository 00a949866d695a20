//! Size of an EfficientNet-Lite, and the five published sizes.

use safevlm_core::resize::ResizeFilter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Epsilon of every batch norm (timm: `resolve_bn_args` of the TensorFlow models).
pub(crate) const BATCH_NORM_EPSILON: f64 = 1e-3;

/// A run of blocks of one width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Number of blocks.
    pub repeats: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the first block; the others have 1.
    pub stride: usize,
    /// How many times wider than its input a block is inside; with 1 it has no expansion.
    pub expansion: usize,
    /// Channels of the output.
    pub width: usize,
}

/// Configuration of an [`EfficientNet`](crate::EfficientNet).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficientNetConfig {
    /// Channels after the first convolution.
    pub stem_width: usize,
    /// The stages in order.
    pub stages: Vec<StageConfig>,
    /// Channels of the feature map.
    pub head_width: usize,
    /// Classes of the ImageNet classifier; 0 leaves it out.
    pub num_classes: usize,
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Side of the input as a share of the shorter side of the resized image.
    pub crop_pct: f64,
    /// The filter that the images were resized with in training.
    pub interpolation: ResizeFilter,
}

/// One published size: multipliers of the width and depth of Lite0 and its input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// `lite0` .. `lite4`.
    pub name: &'static str,
    /// Multiplier of the channels.
    pub width: f64,
    /// Multiplier of the blocks in a stage.
    pub depth: f64,
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Share of the shorter side that the crop keeps.
    pub crop_pct: f64,
    /// Filter of the resize.
    pub interpolation: ResizeFilter,
}

/// The published sizes, as timm's `efficientnet.py` has them.
pub const PRESETS: [Preset; 5] = [
    preset("lite0", 1.0, 1.0, 224, 0.875, ResizeFilter::Bicubic),
    preset("lite1", 1.0, 1.1, 240, 0.882, ResizeFilter::Bicubic),
    preset("lite2", 1.1, 1.2, 260, 0.890, ResizeFilter::Bicubic),
    preset("lite3", 1.2, 1.4, 300, 0.904, ResizeFilter::Bilinear),
    preset("lite4", 1.4, 1.8, 380, 0.920, ResizeFilter::Bilinear),
];

/// Lite0: repeats, kernel, stride, expansion, width.
const LITE0_STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

const fn preset(
    name: &'static str,
    width: f64,
    depth: f64,
    image_size: usize,
    crop_pct: f64,
    interpolation: ResizeFilter,
) -> Preset {
    Preset { name, width, depth, image_size, crop_pct, interpolation }
}

/// A configuration that cannot be built.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No such preset.
    #[error("there is no EfficientNet `{name}`; choose lite0, lite1, lite2, lite3 or lite4")]
    UnknownName {
        /// The name that was asked for.
        name: String,
    },
    /// The keys or their types are wrong.
    #[error("the EfficientNet part of config.json is wrong ({0}); take the file from the checkpoint's own folder")]
    Malformed(#[from] serde_json::Error),
    /// A value is out of range.
    #[error("the EfficientNet part of config.json has `{key}` {found}, which is not {expected}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Preset {
    /// The preset in full, with the 1000 classes of ImageNet.
    pub fn config(&self) -> EfficientNetConfig {
        let last = LITE0_STAGES.len() - 1;
        let stages = LITE0_STAGES.iter().enumerate().map(|(n, &[repeats, kernel, stride, expansion, width])| {
            // The "Lite" models do not deepen the first and last stage (`fix_first_last`).
            let depth = if n == 0 || n == last { 1.0 } else { self.depth };
            let repeats = (repeats as f64 * depth).ceil() as usize;
            StageConfig { repeats, kernel, stride, expansion, width: round_channels(width as f64 * self.width) }
        });
        EfficientNetConfig {
            stem_width: 32,
            stages: stages.collect(),
            head_width: 1280,
            num_classes: 1000,
            image_size: self.image_size,
            crop_pct: self.crop_pct,
            interpolation: self.interpolation,
        }
    }
}

/// The nearest multiple of 8 that is not more than 10 % smaller (timm: `make_divisible`).
fn round_channels(width: f64) -> usize {
    let rounded = (((width + 4.0) / 8.0).floor() * 8.0).max(8.0);
    (if rounded < 0.9 * width { rounded + 8.0 } else { rounded }) as usize
}

impl EfficientNetConfig {
    /// The published size `name`: `lite0`, or timm's `tf_efficientnet_lite0`, and so on.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let short = name.trim_start_matches("tf_").trim_start_matches("efficientnet_");
        let found = PRESETS.iter().find(|p| p.name == short);
        found.map(Preset::config).ok_or_else(|| ConfigError::UnknownName { name: name.to_owned() })
    }

    /// Reads `config.json`: either timm's (`architecture`, `num_classes`), or all fields of this type.
    ///
    /// # Errors
    ///
    /// If keys are missing, unknown, of the wrong type or out of range.
    pub fn from_hf(config: &Value) -> Result<Self, ConfigError> {
        let read = match config.get("architecture").and_then(Value::as_str) {
            None => serde_json::from_value(config.clone())?,
            Some(name) => {
                let mut preset = Self::preset(name)?;
                if let Some(classes) = config.get("num_classes") {
                    preset.num_classes = serde_json::from_value(classes.clone())?;
                }
                preset
            }
        };
        read.validate()?;
        Ok(read)
    }

    /// Checks every number, so that building the model needs neither luck nor much memory.
    ///
    /// # Errors
    ///
    /// Names the first value that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within("stem_width", self.stem_width, 1, 4096, "between 1 and 4096")?;
        within("head_width", self.head_width, 1, 16384, "between 1 and 16384")?;
        within("num_classes", self.num_classes, 0, 1_000_000, "between 0 and 1000000")?;
        within("image_size", self.image_size, 1, 4096, "between 1 and 4096")?;
        within("stages", self.stages.len(), 1, 32, "a list of 1 to 32 stages")?;
        for stage in &self.stages {
            within("repeats", stage.repeats, 1, 64, "between 1 and 64")?;
            within("kernel", stage.kernel, 1, 15, "between 1 and 15")?;
            within("stride", stage.stride, 1, 4, "between 1 and 4")?;
            within("expansion", stage.expansion, 1, 16, "between 1 and 16")?;
            within("width", stage.width, 1, 4096, "between 1 and 4096")?;
        }
        if !(self.crop_pct > 0.0 && self.crop_pct <= 1.0) {
            let found = self.crop_pct.to_string();
            return Err(ConfigError::OutOfRange { key: "crop_pct", found, expected: "above 0 and at most 1" });
        }
        Ok(())
    }

    /// Side of the feature map of an input of `image_size`: 7 for Lite0.
    pub fn grid(&self) -> usize {
        let stem = self.image_size.div_ceil(2);
        self.stages.iter().fold(stem, |side, stage| side.div_ceil(stage.stride))
    }

    /// Positions of the feature map of an input of `image_size`: 49 for Lite0.
    pub fn tokens(&self) -> usize {
        self.grid() * self.grid()
    }
}

fn within(
    key: &'static str,
    value: usize,
    least: usize,
    most: usize,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { key, found: value.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn presets_are_timms() {
        let lite4 = EfficientNetConfig::preset("tf_efficientnet_lite4").unwrap();
        let widths: Vec<_> = lite4.stages.iter().map(|s| s.width).collect();
        let repeats: Vec<_> = lite4.stages.iter().map(|s| s.repeats).collect();
        assert_eq!(widths, [24, 32, 56, 112, 160, 272, 448]);
        assert_eq!(repeats, [1, 4, 4, 6, 6, 8, 1]);
        let grids = PRESETS.map(|p| p.config().grid());
        assert_eq!(grids, [7, 8, 9, 10, 12]);
    }

    #[test]
    fn config_json_is_checked() {
        let timm = json!({"architecture": "tf_efficientnet_lite0", "num_classes": 0, "pretrained_cfg": {}});
        let config = EfficientNetConfig::from_hf(&timm).unwrap();
        assert_eq!((config.num_classes, config.tokens()), (0, 49));

        let whole = serde_json::to_value(&config).unwrap();
        assert_eq!(EfficientNetConfig::from_hf(&whole).unwrap(), config);

        let message = |value: &Value| EfficientNetConfig::from_hf(value).unwrap_err().to_string();
        assert!(message(&json!({"architecture": "resnet50"})).contains("lite0, lite1"));
        assert!(message(&json!({"stem_width": 32})).contains("missing field"));
        for (key, value) in [("stem_width", json!(0)), ("head_width", json!(1e9 as u64)), ("crop_pct", json!(0.0))] {
            let mut wrong = whole.clone();
            wrong[key] = value;
            assert!(message(&wrong).contains(key), "{key}");
        }
    }
}
