//! Layers that `burn-nn` lacks, and the small traits ("seams") by which an encoder, a projector, a
//! language model and a guard head become one vision-language model.
//!
//! Read [`vlm`] first: it is the whole graph, image to verdict and text, in one file.

pub mod absent;
pub mod activation;
pub mod attention;
pub mod decoder;
pub mod embedding;
pub mod encoder_layer;
pub mod grid;
pub mod image_tokens;
pub mod kv_cache;
pub mod layer_norm;
pub mod linear;
pub mod mask;
pub mod mlp;
pub mod norm;
pub mod ops;
pub mod patch_embedding;
pub mod plain_mlp;
pub mod positions;
pub mod precision;
pub mod projector;
pub mod rope;
pub mod sampler;
pub mod seams;
pub mod self_attention;
pub mod sequences;
pub mod vlm;
pub mod weight;

pub use absent::{NoProjector, NoVision};
pub use activation::Activation;
pub use attention::{CausalAttention, CausalAttentionConfig};
pub use decoder::{Decoder, DecoderConfig, DecoderLayer};
pub use embedding::Embedding;
pub use encoder_layer::{EncoderLayer, EncoderLayerConfig};
pub use grid::PatchGrid;
pub use image_tokens::ImageTokens;
pub use kv_cache::KvCache;
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use linear::{Linear, LinearConfig, LoraAdapter, LoraAdapterConfig};
pub use mask::AttentionMask;
pub use mlp::{GatedMlp, GatedMlpConfig};
pub use norm::{RmsNorm, RmsNormConfig};
pub use patch_embedding::{PatchEmbedding, PatchEmbeddingConfig};
pub use plain_mlp::{PlainMlp, PlainMlpConfig};
pub use positions::Positions;
pub use projector::{MlpProjector, MlpProjectorConfig};
pub use rope::{RopeScaling, Rotary, RotaryConfig};
pub use sampler::{Sampler, SamplerConfig, SamplerError};
pub use seams::{CausalLm, GuardHead, GuardInput, Matrix, Projector, VisionEncoder};
pub use self_attention::{SelfAttention, SelfAttentionConfig};
pub use sequences::{Branched, Padding, Sequences};
pub use vlm::{Vlm, VlmOutput};
pub use weight::{Blocks, Weight};
