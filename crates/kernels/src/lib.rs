//! What SafeVLM computes on a CPU: plain functions over slices, which know nothing of Burn.
//!
//! `safevlm_nn` calls them where a tensor lies in main memory, with gradients through them where something has to
//! learn; on every other device Burn's own operations compute the same.
#![allow(unsafe_code, reason = "instructions that only some processors have; each block says why it is sound")]

#[macro_use]
mod level;
mod machine;
mod memory;

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod convolution;
pub mod cross_entropy;
mod lanes;
pub mod linear;
mod math;
pub mod norm;
mod output;
mod parallel;
pub mod rope;
pub mod softmax;
pub mod team;
#[cfg(test)]
mod testing;
mod tile;

mod pool;
pub mod quant;

pub use level::{LEVEL_VARIABLE, Level, level};
pub use machine::Limits;
pub use memory::keep_freed_memory;
pub use pool::on_pool;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
