//! Checkpoint name → field name.

use safevlm_llama::key_rules;
use safevlm_weights::KeyMap;

/// The rules of a safe-smol file, which is laid out as LLaVA's are.
pub fn key_map() -> KeyMap {
    let mut rules = vec![
        ("^vision_tower\\.".to_owned(), "vision.".to_owned()),
        ("^multi_modal_projector\\.".to_owned(), "projector.".to_owned()),
    ];
    rules.extend(safevlm_vgm::key_rules("guard."));
    rules.extend(key_rules("language_model.model.", "language_model."));
    let rules: Vec<_> = rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    KeyMap::new(&rules)
}

/// The checkpoint name of a field: what [`key_map`] undoes.
pub fn checkpoint_name(field: &str) -> String {
    if let Some(field) = field.strip_prefix("guard.") {
        return safevlm_vgm::checkpoint_name(field);
    }
    let rules = KeyMap::new(&[
        (r"^vision\.", "vision_tower."),
        (r"^projector\.", "multi_modal_projector."),
        (r"^language_model\.", "language_model.model."),
    ]);
    rules.apply(field)
}
