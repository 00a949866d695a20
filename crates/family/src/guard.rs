//! The guard's keys in `config.json`.

use safevlm_core::taxonomy::Taxonomy;
use safevlm_vgm::VgmConfig;
use serde_json::Value;

use crate::error::FamilyError;

/// The guard head of a model and what its logits mean.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// Size of the head.
    pub head: VgmConfig,
    /// The labels, in the order of the logits.
    pub taxonomy: Taxonomy,
}

impl GuardConfig {
    /// Reads the guard's keys; none for a base model. `hidden_size` is the language model's width.
    ///
    /// # Errors
    ///
    /// If a key has another type, or a value that no head can have.
    pub fn from_hf(config: &Value, hidden_size: usize) -> Result<Option<Self>, FamilyError> {
        let Some(head) = VgmConfig::from_hf(config, hidden_size)? else { return Ok(None) };
        Ok(Some(Self { head, taxonomy: Taxonomy::from_hf(config)? }))
    }

    /// Tokens that the guard puts behind each image's: its meta token, if it has one.
    pub fn tokens(&self) -> usize {
        usize::from(self.head.safety_meta_token)
    }
}
