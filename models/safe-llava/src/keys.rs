//! Checkpoint name → field name, for every layout that LLaVA's files have had.

use safevlm_weights::KeyMap;

/// The rules, for:
///
/// - transformers' files: `vision_tower.`, `multi_modal_projector.`, `language_model.model.` and
///   `language_model.lm_head.`; its newest ones with `model.` before each and `lm_head.` alone
/// - the original code's, which SafeLLaVA's derive from: `model.vision_tower.vision_tower.`,
///   `model.mm_projector.0` and `.2`, and the language model as Llama's own files have it
/// - the guard head under `img_safety_head`, before which anything may stand
pub fn key_map() -> KeyMap {
    // The guard first: of its names, only the end is certain.
    let mut rules = safevlm_vgm::key_rules("guard.");
    // A tower alone has no place here, so its empty prefix is left out.
    for prefix in safevlm_clip::PREFIXES.iter().filter(|prefix| !prefix.is_empty()) {
        rules.extend(safevlm_clip::key_rules(prefix, "vision."));
    }
    for (from, to) in [
        (r"^(?:model\.)?multi_modal_projector\.", "projector."),
        (r"^model\.mm_projector\.0\.", "projector.linear_1."),
        (r"^model\.mm_projector\.2\.", "projector.linear_2."),
        (r"^lm_head\.", "language_model.lm_head."),
    ] {
        rules.push((from.to_owned(), to.to_owned()));
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
                    "vision_tower.embeddings.class_embedding",
                    "model.vision_tower.vision_model.embeddings.class_embedding",
                    "model.vision_tower.embeddings.class_embedding",
                    "model.vision_tower.vision_tower.vision_model.embeddings.class_embedding",
                    "model.vision_tower.vision_tower.embeddings.class_embedding",
                ][..],
            ),
            (
                "vision.pre_layrnorm.bias",
                &[
                    "vision_tower.vision_model.pre_layrnorm.bias",
                    "model.vision_tower.vision_tower.vision_model.pre_layrnorm.bias",
                ],
            ),
            (
                "vision.layers.3.self_attn.q_proj.bias",
                &[
                    "vision_tower.vision_model.encoder.layers.3.self_attn.q_proj.bias",
                    "model.vision_tower.encoder.layers.3.self_attn.q_proj.bias",
                    "model.vision_tower.vision_tower.vision_model.encoder.layers.3.self_attn.q_proj.bias",
                ],
            ),
            (
                "projector.linear_1.bias",
                &[
                    "multi_modal_projector.linear_1.bias",
                    "model.multi_modal_projector.linear_1.bias",
                    "model.mm_projector.0.bias",
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
                "language_model.embed_tokens.weight",
                &[
                    "language_model.model.embed_tokens.weight",
                    "model.language_model.embed_tokens.weight",
                    "model.embed_tokens.weight",
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
            (
                "language_model.norm.weight",
                &["language_model.model.norm.weight", "model.language_model.norm.weight", "model.norm.weight"],
            ),
            ("language_model.lm_head.weight", &["language_model.lm_head.weight", "lm_head.weight"]),
            ("guard.fc1.weight", &["img_safety_head.mlp.0.weight", "model.img_safety_head.mlp.0.weight"]),
            ("guard.fc2.bias", &["img_safety_head.mlp.3.bias", "language_model.img_safety_head.mlp.3.bias"]),
            ("guard.meta_token", &["img_safety_head.meta_token", "model.img_safety_head.meta_token"]),
        ] {
            for name in names {
                assert_eq!(map.apply(name), field, "{name}");
            }
        }
    }

    #[test]
    fn what_belongs_to_nobody_stays_as_it_is() {
        let map = key_map();
        for name in ["model.image_newline", "model.mm_projector.1.weight", "model.vision_resampler.query"] {
            let field = map.apply(name);
            assert!(!["vision.", "projector.", "language_model.", "guard."].iter().any(|p| field.starts_with(p)));
        }
    }
}
