//! The published sizes, as `xtask/goldens/safe_gem_presets.py` describes them.

use safevlm_family::Published;

/// SafeGem's two sizes, and the Gemma 3 sizes that read images and are small enough to try.
pub const PUBLISHED: &[Published] = &[
    Published {
        name: "safe-gem-12b",
        config: include_str!("../presets/safe-gem-12b.json"),
        tensors: include_str!("../presets/safe-gem-12b.tensors"),
    },
    Published {
        name: "safe-gem-27b",
        config: include_str!("../presets/safe-gem-27b.json"),
        tensors: include_str!("../presets/safe-gem-27b.tensors"),
    },
    Published {
        name: "gemma-3-4b",
        config: include_str!("../presets/gemma-3-4b.json"),
        tensors: include_str!("../presets/gemma-3-4b.tensors"),
    },
    Published {
        name: "gemma-3-12b",
        config: include_str!("../presets/gemma-3-12b.json"),
        tensors: include_str!("../presets/gemma-3-12b.tensors"),
    },
];
