//! Checkpoint names of the guard head.

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
