//! Checkpoint names of SigLIP vision encoders.

/// What stands before the encoder's names in the files that carry one: Gemma 3's, the same in
/// transformers' newest layout, and an encoder alone. Behind each may follow `vision_model.`, which
/// [`key_rules`] drops.
pub const PREFIXES: [&str; 3] = ["vision_tower.", "model.vision_tower.", ""];

/// Rules from checkpoint names to field paths. `from` is the prefix in the file (without its dots'
/// escapes), `to` that of the field. Fields are named as in the checkpoint, but for the layers, which
/// are not inside an `encoder` here.
pub fn key_rules(from: &str, to: &str) -> Vec<(String, String)> {
    let from = from.replace('.', r"\.");
    vec![
        (format!(r"^{from}(?:vision_model\.)?(embeddings|post_layernorm)\."), format!("{to}$1.")),
        (format!(r"^{from}(?:vision_model\.)?encoder\.(layers\.\d+)\."), format!("{to}$1.")),
    ]
}

/// Tensors that some checkpoints carry and nobody needs, as a pattern: the positions' numbers, and the
/// pooling head, which the vision-language models do not use.
pub const IGNORED: &str = r"embeddings\.position_ids$|(^|\.)head\.(probe|attention|layernorm|mlp)(\.|$)";
