//! Where in a module a visitor is.

/// The path of the field that is visited, such as `layers.0.self_attn.q_proj.weight`.
///
/// Checkpoints do not know the variants of our enums, so the path leaves them out.
#[derive(Clone, Debug, Default)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// To be called by `enter_module`.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !is_variant(container) {
            self.0.push(name.to_string());
        }
    }

    /// To be called by `exit_module`.
    pub fn exit(&mut self, container: &str) {
        if !is_variant(container) {
            self.0.pop();
        }
    }

    /// The path.
    pub fn name(&self) -> String {
        self.0.join(".")
    }
}

fn is_variant(container: &str) -> bool {
    container.starts_with("Enum:")
}
