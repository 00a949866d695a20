//! Layers that `burn-nn` lacks, and the small traits ("seams") by which an encoder, a projector, a
//! language model and a guard head become one vision-language model.
//!
//! Read [`vlm`] first: it is the whole graph, image to verdict and text, in one file.

pub mod activation;
pub mod attention;
pub mod embedding;
pub mod kv_cache;
pub mod linear;
pub mod mask;
pub mod mlp;
pub mod norm;
pub mod positions;
pub mod projector;
pub mod rope;
pub mod sampler;
pub mod seams;
pub mod sequences;
pub mod vlm;

pub use activation::Activation;
pub use attention::{CausalAttention, CausalAttentionConfig};
pub use embedding::Embedding;
pub use kv_cache::KvCache;
pub use linear::{Linear, LinearConfig, LoraAdapter};
pub use mask::AttentionMask;
pub use mlp::{GatedMlp, GatedMlpConfig};
pub use norm::{RmsNorm, RmsNormConfig};
pub use positions::Positions;
pub use projector::{MlpProjector, MlpProjectorConfig};
pub use rope::{RopeScaling, Rotary, RotaryConfig};
pub use sampler::{Sampler, SamplerConfig, SamplerError};
pub use seams::{AttachLora, CausalLm, GuardHead, Projector, VisionEncoder};
pub use sequences::{Padding, Sequences};
pub use vlm::{Vlm, VlmOutput};
