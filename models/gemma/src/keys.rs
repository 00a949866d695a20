//! Checkpoint names of Gemma 3's language model and projector.

/// Rules from checkpoint names to the language model's field paths, which begin with `to`. Only
/// prefixes differ, fields are named as in the checkpoint. These prefixes occur:
///
/// - `language_model.model.`: published files with a vision tower, and what transformers saves
/// - `model.language_model.`: the names that newer transformers have in memory
/// - `model.language_model.model.`: what transformers 5 saves of a class derived from its own, as SafeGem's is
/// - `language_model.`: a model without its head
/// - `model.`: text-only files
///
/// The head is the embedding table; a file that has an own `lm_head.weight` is not taken for one.
pub fn key_rules(to: &str) -> Vec<(String, String)> {
    let prefix = r"^(?:(?:model\.)?language_model\.(?:model\.)?|model\.)";
    vec![(format!(r"{prefix}(embed_tokens\.|layers\.\d+\.|norm\.)"), format!("{to}$1"))]
}

/// Rules from checkpoint names to the projector's field paths, which begin with `to`; in memory the
/// names of newer transformers have a leading `model.`.
pub fn projector_key_rules(to: &str) -> Vec<(String, String)> {
    vec![(r"^(?:model\.)?multi_modal_projector\.".to_owned(), to.to_owned())]
}
