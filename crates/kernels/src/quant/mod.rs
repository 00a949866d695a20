//! Weights of few bits: linear layers that read them as they are stored.
//!
//! A [`QuantizedMatrix`] holds the bytes of a GGUF tensor, or those that [`quantize`] makes. [`matmul`] brings the
//! activations to eight bits, 32 at a time, and multiplies whole numbers; weights in 16-bit floats are multiplied with
//! the activations as they are.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "parts that only the AVX2 paths use"))]

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_floats;
#[cfg(target_arch = "x86_64")]
mod avx2_many;
mod error;
mod format;
mod group;
mod matmul;
mod matrix;
#[cfg(target_arch = "x86_64")]
mod panel;
mod portable;
mod quantize;
mod super_blocks;
#[cfg(test)]
mod tests;

pub use error::QuantError;
pub use format::BlockFormat;
pub use group::dequantize;
pub use matmul::{matmul, matmul_many};
pub use matrix::{Owner, QuantizedMatrix};
pub use quantize::quantize;
