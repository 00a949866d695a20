//! Checkpoint name → field name.

use safevlm_weights::{Allow, KeyMap};

/// The rules of all layouts: the published files (`visual.*`, `model.*`, `lm_head.*`), those that newer tools hold
/// in memory and write (`model.visual.*`, `model.language_model.*`), and the guard under `img_safety_head`
/// anywhere.
pub fn key_map() -> KeyMap {
    // The guard first: `model.img_safety_head` must not be taken for a part of the language model.
    let mut rules = safevlm_vgm::key_rules("guard.");
    rules.extend(safevlm_qwen_vision::key_rules("vision."));
    rules.extend(safevlm_qwen::key_rules("language_model."));
    let rules: Vec<_> = rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    KeyMap::new(&rules)
}

/// Rotary frequencies, which are computed, may be left over.
pub fn allow() -> Allow {
    Allow::nothing().unused(safevlm_qwen::IGNORED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_the_same_fields() {
        let layouts = [
            ("visual.patch_embed.proj.weight", "vision.patch_embed.proj.weight"),
            ("visual.blocks.31.attn.qkv.bias", "vision.blocks.31.attn.qkv.bias"),
            ("visual.merger.mlp.2.weight", "vision.merger.mlp_2.weight"),
            ("model.visual.blocks.0.mlp.gate_proj.weight", "vision.blocks.0.mlp.gate_proj.weight"),
            ("model.visual.merger.mlp.0.bias", "vision.merger.mlp_0.bias"),
            ("model.visual.merger.ln_q.weight", "vision.merger.ln_q.weight"),
            ("model.embed_tokens.weight", "language_model.embed_tokens.weight"),
            ("model.layers.7.self_attn.q_proj.bias", "language_model.layers.7.self_attn.q_proj.bias"),
            ("model.norm.weight", "language_model.norm.weight"),
            ("model.language_model.layers.7.mlp.up_proj.weight", "language_model.layers.7.mlp.up_proj.weight"),
            ("model.language_model.norm.weight", "language_model.norm.weight"),
            ("language_model.model.norm.weight", "language_model.norm.weight"),
            ("lm_head.weight", "language_model.lm_head.weight"),
            ("language_model.lm_head.weight", "language_model.lm_head.weight"),
            ("img_safety_head.mlp.0.weight", "guard.fc1.weight"),
            ("img_safety_head.mlp.3.bias", "guard.fc2.bias"),
            ("model.img_safety_head.mlp.0.bias", "guard.fc1.bias"),
            ("model.img_safety_head.mlp.3.weight", "guard.fc2.weight"),
        ];
        let keys = key_map();
        for (name, field) in layouts {
            assert_eq!(keys.apply(name), field);
            // No rule takes a field for a checkpoint's name, so that their order does no harm.
            assert_eq!(keys.apply(field), field);
        }
    }
}
