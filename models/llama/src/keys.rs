//! Checkpoint names of Llama-style decoders.

/// Rules from checkpoint names to field paths. Only the prefix differs: fields are named as in the
/// checkpoint. `from` is the prefix in the file (without its dots' escapes), `to` that of the field.
pub fn key_rules(from: &str, to: &str) -> Vec<(String, String)> {
    let from = from.replace('.', r"\.");
    vec![(format!(r"^{from}(embed_tokens\.|layers\.\d+\.|norm\.)"), format!("{to}$1"))]
}

/// Tensors that old checkpoints carry and nobody needs, as a pattern: rotary frequencies are computed.
pub const IGNORED: &str = r"rotary_emb\.inv_freq$";
