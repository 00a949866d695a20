//! Checkpoint names of the guard head.

/// The name under which a field of the head, such as `fc1.weight`, is saved.
pub fn checkpoint_name(field: &str) -> String {
    let name = field.replacen("fc1.", "mlp.0.", 1).replacen("fc2.", "mlp.3.", 1);
    format!("img_safety_head.{name}")
}

/// Rules from checkpoint names to field paths that begin with `to`. The head is found by the name
/// `img_safety_head`, before which anything may stand; how it numbers or names its two linear layers is
/// second-hand knowledge, so every usual way is read, and their shapes decide.
pub fn key_rules(to: &str) -> Vec<(String, String)> {
    let head = r"^(?:.*\.)?img_safety_head\.";
    vec![
        (format!(r"{head}(?:.*\.)?(?:fc1|linear_?1|0)\.(weight|bias)$"), format!("{to}fc1.$1")),
        (format!(r"{head}(?:.*\.)?(?:fc2|linear_?2|[1-9])\.(weight|bias)$"), format!("{to}fc2.$1")),
        (format!("{head}meta_token$"), format!("{to}meta_token")),
    ]
}
