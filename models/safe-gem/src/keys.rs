//! Checkpoint name → field name.

use safevlm_siglip::{IGNORED, PREFIXES};
use safevlm_weights::{Allow, KeyMap};

/// The rules for every layout that Gemma 3's files have had:
///
/// - `language_model.model.*`, `vision_tower.vision_model.*`, `multi_modal_projector.*`: the published files;
///   newer tools leave `vision_model.` out
/// - `model.language_model.*`, `model.vision_tower.*`, `model.multi_modal_projector.*`: the names in memory
/// - `language_model.*`: the same of the model without its head, which SafeGem's sample code loads
///
/// The guard's head is found by its own name, wherever it stands.
pub fn key_map() -> KeyMap {
    let mut rules = safevlm_vgm::key_rules("guard.");
    // Of an encoder alone there is none: it has no language model.
    for prefix in PREFIXES.into_iter().filter(|prefix| !prefix.is_empty()) {
        rules.extend(safevlm_siglip::key_rules(prefix, "vision."));
    }
    rules.extend(safevlm_gemma::projector_key_rules("projector."));
    // What is named `language_model.layers.*` already is left alone.
    rules.extend(safevlm_gemma::key_rules("language_model."));
    let rules: Vec<_> = rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    KeyMap::new(&rules)
}

/// Some files carry SigLIP's pooling head, which Gemma 3 does not use.
pub fn allow() -> Allow {
    Allow::nothing().unused(IGNORED)
}
