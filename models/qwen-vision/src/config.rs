//! Size of the encoder, and the published sizes.

use burn::config::Config;
use safevlm_core::fields::{FieldError, Fields};
use serde_json::Value;

const FILE: &str = "config.json";

/// Configuration of the encoder; the names are those of `vision_config` in Hugging Face's `config.json`.
#[derive(Config, Debug)]
pub struct QwenVisionConfig {
    /// Number of blocks.
    pub depth: usize,
    /// Width of the encoder.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of attention heads.
    pub num_heads: usize,
    /// Width of the output, which is that of the language model.
    pub out_hidden_size: usize,
    /// The blocks whose patches see the whole image; in the others they see their window.
    pub fullatt_block_indexes: Vec<usize>,
    /// Colour channels.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Side of a patch, in pixels.
    #[config(default = 14)]
    pub patch_size: usize,
    /// Frames in a patch; a still image is repeated.
    #[config(default = 2)]
    pub temporal_patch_size: usize,
    /// Side of the square of patches that become one visual token.
    #[config(default = 2)]
    pub spatial_merge_size: usize,
    /// Side of an attention window, in pixels.
    #[config(default = 112)]
    pub window_size: usize,
    /// Base of the rotary frequencies.
    #[config(default = 10000.0)]
    pub rope_theta: f64,
}

/// What tells the published sizes apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Name of the language model's size.
    pub name: &'static str,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Width of the language model.
    pub out_hidden_size: usize,
}

/// The encoders of Qwen2.5-VL, as their `config.json` files have them. All have 32 blocks of width 1280
/// with 16 heads.
pub const PRESETS: [Preset; 3] = [
    Preset { name: "qwen2.5-vl-3b", intermediate_size: 3420, out_hidden_size: 2048 },
    Preset { name: "qwen2.5-vl-7b", intermediate_size: 3420, out_hidden_size: 3584 },
    Preset { name: "qwen2.5-vl-32b", intermediate_size: 3456, out_hidden_size: 5120 },
];

impl Preset {
    /// The preset in full.
    pub fn config(&self) -> QwenVisionConfig {
        let blocks = vec![7, 15, 23, 31];
        QwenVisionConfig::new(32, 1280, self.intermediate_size, 16, self.out_hidden_size, blocks)
    }
}

impl QwenVisionConfig {
    /// Reads `vision_config`. A key that is absent has the reference's default, because newer tools leave
    /// such keys out.
    ///
    /// # Errors
    ///
    /// If a value has another type, is out of range, or asks for something that would silently change
    /// the numbers.
    pub fn from_hf(vision_config: &Value) -> Result<Self, FieldError> {
        let fields = Fields::new(FILE, vision_config)?;
        // Published files and newer ones spell it differently.
        let channels = if fields.get("in_channels").is_some() { "in_channels" } else { "in_chans" };
        let rope = match fields.get("rope_parameters") {
            Some(values) => Fields::new(FILE, values)?,
            None => fields,
        };
        // No product of sizes can overflow.
        let width = |key: &str, default: usize| fields.whole(key, 1..=65_535, default);
        let side = |key: &str, default: usize| fields.whole(key, 1..=256, default);
        let read = Self::new(
            fields.whole("depth", 1..=1024, 32)?,
            width("hidden_size", 3584)?,
            width("intermediate_size", 3420)?,
            width("num_heads", 16)?,
            width("out_hidden_size", 3584)?,
            full_blocks(&fields)?,
        )
        .with_in_channels(side(channels, 3)?)
        .with_patch_size(side("patch_size", 14)?)
        .with_temporal_patch_size(side("temporal_patch_size", 2)?)
        .with_spatial_merge_size(side("spatial_merge_size", 2)?)
        .with_window_size(width("window_size", 112)?)
        .with_rope_theta(rope.positive("rope_theta", 10000.0)?);
        if fields.text("hidden_act", "silu")? != "silu" {
            return Err(fields.wrong("hidden_act", "\"silu\""));
        }
        if !read.hidden_size.is_multiple_of(read.num_heads) || !read.head_dim().is_multiple_of(4) {
            return Err(fields.wrong("num_heads", "a divisor of `hidden_size` that leaves heads of a multiple of 4"));
        }
        if read.window() == 0 {
            return Err(fields.wrong("window_size", "at least `patch_size` times `spatial_merge_size`"));
        }
        Ok(read)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Number of values in a flattened patch.
    pub fn patch_values(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Side of an attention window, in visual tokens.
    pub fn window(&self) -> usize {
        self.window_size / self.spatial_merge_size / self.patch_size
    }
}

/// `fullatt_block_indexes`; those of blocks that are not there have no effect, as in the reference.
fn full_blocks(fields: &Fields<'_>) -> Result<Vec<usize>, FieldError> {
    let Some(value) = fields.get("fullatt_block_indexes") else { return Ok(vec![7, 15, 23, 31]) };
    let number = |n: &Value| n.as_u64().and_then(|n| usize::try_from(n).ok());
    let numbers = value.as_array().and_then(|list| list.iter().map(number).collect());
    numbers.ok_or_else(|| fields.wrong("fullatt_block_indexes", "a list of whole numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn published_keys_give_the_presets() {
        for preset in PRESETS {
            // What the published files have, in their spelling.
            let published = json!({
                "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "num_heads": 16, "in_chans": 3,
                "intermediate_size": preset.intermediate_size, "out_hidden_size": preset.out_hidden_size,
                "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2, "temporal_patch_size": 2,
            });
            let read = QwenVisionConfig::from_hf(&published).unwrap();
            assert_eq!(format!("{read:?}"), format!("{:?}", preset.config()), "{}", preset.name);
            assert_eq!((read.head_dim(), read.patch_values(), read.window()), (80, 1176, 4));
        }
    }

    #[test]
    fn impossible_values_are_errors_that_name_the_key() {
        let cases = [
            ("hidden_act", json!("gelu")),
            ("hidden_size", json!(0)),
            ("num_heads", json!(7)),
            ("depth", json!(2000)),
            ("depth", json!("many")),
            ("window_size", json!(14)),
            ("patch_size", json!([14, 14])),
            ("patch_size", json!(512)),
            ("fullatt_block_indexes", json!([-1])),
            ("rope_parameters", json!({"rope_theta": 0})),
        ];
        for (key, value) in cases {
            let mut config = json!({"hidden_size": 1280});
            config[key] = value;
            let message = QwenVisionConfig::from_hf(&config).unwrap_err().to_string();
            let named = if key == "rope_parameters" { "rope_theta" } else { key };
            assert!(message.contains(&format!("`{named}`")), "{key}: {message}");
        }
    }
}
