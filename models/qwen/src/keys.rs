//! Checkpoint names of the language model.

/// Rules from checkpoint names to field paths that begin with `to`. Text-only and older files begin with
/// `model.`, newer ones of Qwen2.5-VL with `model.language_model.`; fields are named as in the checkpoint.
pub fn key_rules(to: &str) -> Vec<(String, String)> {
    let prefix = r"^(?:model\.language_model\.|language_model\.model\.|model\.)";
    vec![
        (format!(r"{prefix}(embed_tokens\.|layers\.\d+\.|norm\.)"), format!("{to}$1")),
        (r"^(?:language_model\.)?lm_head\.".to_owned(), format!("{to}lm_head.")),
    ]
}

/// Tensors that some checkpoints carry and nobody needs, as a pattern: rotary frequencies are computed.
pub const IGNORED: &str = r"rotary_emb\.inv_freq$";
