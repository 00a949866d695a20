//! Checkpoint name → field name, for every layout that LLaVA's files have had.

use safevlm_weights::KeyMap;

/// The rules. They are tried in order, and the first that fits renames:
///
/// - transformers' files: `vision_tower.`, `multi_modal_projector.`, `language_model.model.` and
///   `language_model.lm_head.`; its newest ones with `model.` before each and `lm_head.` alone
/// - the original code's, which SafeLLaVA's derive from: `model.vision_tower.vision_tower.`,
///   `model.mm_projector.0` and `.2`, and the language model as Llama's own files have it
/// - the guard head under `img_safety_head`, before which anything may stand
pub fn key_map() -> KeyMap {
    let mut rules = vec![
        // Linear, GELU, Dropout, Linear: the published heads number their linear layers 0 and 3.
        (r"^(?:.*\.)?img_safety_head\.(?:mlp\.)?0\.".to_owned(), "guard.fc1.".to_owned()),
        (r"^(?:.*\.)?img_safety_head\.(?:mlp\.)?3\.".to_owned(), "guard.fc2.".to_owned()),
        (r"^(?:model\.)?multi_modal_projector\.".to_owned(), "projector.".to_owned()),
        (r"^model\.mm_projector\.0\.".to_owned(), "projector.linear_1.".to_owned()),
        (r"^model\.mm_projector\.2\.".to_owned(), "projector.linear_2.".to_owned()),
        (r"^(?:language_model\.)?lm_head\.".to_owned(), "language_model.lm_head.".to_owned()),
    ];
    // A tower alone has no place here, so its empty prefix is left out.
    for prefix in safevlm_clip::PREFIXES.iter().filter(|prefix| !prefix.is_empty()) {
        rules.extend(safevlm_clip::key_rules(prefix, "vision."));
    }
    for prefix in ["language_model.model.", "model.language_model.", "model."] {
        rules.extend(safevlm_llama::key_rules(prefix, "language_model."));
    }
    let rules: Vec<_> = rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    KeyMap::new(&rules)
}

/// Tensors that old checkpoints carry and nobody needs, as patterns: positions' numbers and rotary
/// frequencies.
pub const IGNORED: [&str; 2] = [safevlm_clip::IGNORED, safevlm_llama::IGNORED];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_reaches_the_same_fields() {
        let map = key_map();
        for (field, names) in [
            (
                "vision.embeddings.class_embedding",
                &[
                    "vision_tower.vision_model.embeddings.class_embedding",
                    "model.vision_tower.vision_model.embeddings.class_embedding",
                    "model.vision_tower.embeddings.class_embedding",
                    "model.vision_tower.vision_tower.vision_model.embeddings.class_embedding",
                ][..],
            ),
            (
                "vision.layers.3.self_attn.q_proj.bias",
                &[
                    "vision_tower.vision_model.encoder.layers.3.self_attn.q_proj.bias",
                    "model.vision_tower.vision_tower.vision_model.encoder.layers.3.self_attn.q_proj.bias",
                ],
            ),
            (
                "projector.linear_2.weight",
                &[
                    "multi_modal_projector.linear_2.weight",
                    "model.multi_modal_projector.linear_2.weight",
                    "model.mm_projector.2.weight",
                ],
            ),
            (
                "language_model.layers.0.mlp.up_proj.weight",
                &[
                    "language_model.model.layers.0.mlp.up_proj.weight",
                    "model.language_model.layers.0.mlp.up_proj.weight",
                    "model.layers.0.mlp.up_proj.weight",
                ],
            ),
            ("language_model.lm_head.weight", &["language_model.lm_head.weight", "lm_head.weight"]),
            ("guard.fc1.weight", &["img_safety_head.mlp.0.weight", "model.img_safety_head.mlp.0.weight"]),
            ("guard.fc2.bias", &["img_safety_head.mlp.3.bias"]),
        ] {
            for name in names {
                assert_eq!(map.apply(name), field, "{name}");
            }
        }
    }
}
