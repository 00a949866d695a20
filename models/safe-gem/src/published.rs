//! The published sizes, as `xtask/goldens/safe_gem_presets.py` describes them.

use safevlm_family::{Published, published};

/// SafeGem's two sizes, and the Gemma 3 sizes that read images and are small enough to try.
pub const PUBLISHED: &[Published] = published!("safe-gem-12b", "safe-gem-27b", "gemma-3-4b", "gemma-3-12b");
