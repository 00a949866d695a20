//! Checkpoint names of the encoder.

/// Rules from checkpoint names to field paths that begin with `to`. Older files begin with `visual.`, newer
/// ones with `model.visual.`; fields are named as in the checkpoint, but for the merger's numbered layers.
pub fn key_rules(to: &str) -> Vec<(String, String)> {
    vec![
        (r"^(?:model\.)?visual\.merger\.mlp\.(\d+)\.".to_owned(), format!("{to}merger.mlp_$1.")),
        (r"^(?:model\.)?visual\.".to_owned(), to.to_owned()),
    ]
}
