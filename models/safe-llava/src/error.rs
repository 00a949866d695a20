//! What can go wrong with a SafeLLaVA folder or its prompt.

use safevlm_clip::ClipConfigError;
use safevlm_core::fields::FieldError;
use safevlm_core::resize::ResizeError;
use safevlm_core::taxonomy::TaxonomyError;
use safevlm_llama::LlamaConfigError;
use safevlm_text::TextError;
use safevlm_vgm::VgmConfigError;
use safevlm_weights::WeightsError;
use thiserror::Error;

/// A SafeLLaVA folder that cannot be used, or a conversation that does not fit it.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what each variant means")]
pub enum SafeLlavaError {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Vision(#[from] ClipConfigError),
    #[error(transparent)]
    Llama(#[from] LlamaConfigError),
    #[error(transparent)]
    Guard(#[from] VgmConfigError),
    #[error(transparent)]
    Taxonomy(#[from] TaxonomyError),
    #[error(transparent)]
    Resize(#[from] ResizeError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("the tokenizer's `{0}` has another id than config.json says: take both files from the same folder")]
    Token(&'static str),
    #[error("there is no SafeLLaVA `{name}`; choose one of {names}")]
    UnknownName { name: String, names: String },
}
