//! The floating-point types in which values are saved and parameters computed.

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;
use half::f16;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tensors::{StoredDtype, TensorSource};

/// Single precision, or one of the two halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FloatDtype {
    /// Single precision, exact. The type to compute in on `flex`.
    #[default]
    F32,
    /// Half precision; a finite value beyond its range is an error, not an infinity. `flex` is slow
    /// in all its operations but products.
    F16,
    /// Single precision's range with eight significant bits. `flex` converts the whole weight for
    /// every product: for GPUs only.
    BF16,
}

impl FloatDtype {
    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// The smallest type that stores every value of `source` exactly.
    pub fn exact_for(source: &dyn TensorSource) -> Self {
        let names = source.names();
        let all = |dtype| {
            let infos = names.iter().filter_map(|name| source.info(name));
            !names.is_empty() && infos.into_iter().all(|info| info.dtype == dtype)
        };
        if all(StoredDtype::F16) {
            Self::F16
        } else if all(StoredDtype::BF16) {
            Self::BF16
        } else {
            Self::F32
        }
    }

    /// The half precision in which more than half of the values of `source` are stored, else f32.
    ///
    /// One type for the whole model, because Burn multiplies no two types with each other; published
    /// half-precision checkpoints often keep a few norms or a guard head in f32.
    pub fn as_stored(source: &dyn TensorSource) -> Self {
        let infos: Vec<_> = source.names().iter().filter_map(|name| source.info(name)).collect();
        let values = |of: &dyn Fn(StoredDtype) -> bool| {
            infos.iter().filter(|info| of(info.dtype)).map(|info| info.len() as u128).sum::<u128>()
        };
        let all = values(&|_| true);
        let is_most = |dtype| 2 * values(&|stored| stored == dtype) > all;
        if is_most(StoredDtype::BF16) {
            Self::BF16
        } else if is_most(StoredDtype::F16) {
            Self::F16
        } else {
            Self::F32
        }
    }

    /// Burn's name for the type.
    pub fn burn(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
}

impl fmt::Display for FloatDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        })
    }
}

impl FromStr for FloatDtype {
    type Err = String;

    /// `f32`, `f16` or `bf16`, or as PyTorch calls them.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" | "float32" => Ok(Self::F32),
            "f16" | "float16" => Ok(Self::F16),
            "bf16" | "bfloat16" => Ok(Self::BF16),
            _ => Err(format!("`{text}` is not a type to compute in: choose f32, f16 or bf16")),
        }
    }
}

impl Serialize for FloatDtype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FloatDtype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// `value` in half precision; none if it is finite and half precision's range ends before it.
pub(crate) fn to_f16(value: f32) -> Option<f16> {
    let half = f16::from_f32(value);
    (half.is_finite() || !value.is_finite()).then_some(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip_and_others_are_refused() {
        for dtype in [FloatDtype::F32, FloatDtype::F16, FloatDtype::BF16] {
            assert_eq!(dtype.to_string().parse::<FloatDtype>(), Ok(dtype));
        }
        assert_eq!("bfloat16".parse(), Ok(FloatDtype::BF16));
        assert!("int8".parse::<FloatDtype>().unwrap_err().contains("bf16"));
    }

    #[test]
    fn half_precision_says_where_it_ends() {
        assert_eq!(to_f16(65_504.), Some(f16::MAX));
        assert_eq!(to_f16(70_000.), None);
        assert_eq!(to_f16(f32::INFINITY), Some(f16::INFINITY));
        assert!(to_f16(f32::NAN).unwrap().is_nan());
    }
}
