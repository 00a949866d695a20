//! The matrix of a linear layer or an embedding, as a parameter or as a checkpoint's blocks.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use safevlm_kernels::quant::QuantizedMatrix;

/// A matrix `[rows, columns]`: outputs and inputs of a linear layer, ids and width of an embedding.
#[derive(Module, Debug)]
pub enum Weight {
    /// A parameter on any device, which can learn.
    Float(Param<Tensor<2>>),
    /// Values of few bits in main memory, which cannot.
    Blocks(Blocks),
}

/// A matrix that is multiplied as it is stored; no parameter, so that no visitor of parameters sees it.
#[derive(Module, Debug)]
pub struct Blocks {
    #[module(skip)]
    matrix: QuantizedMatrix,
    /// Where the model computes.
    #[module(skip)]
    device: Device,
}

impl Weight {
    /// The values; blocks are dequantised, as f32.
    pub fn val(&self) -> Tensor<2> {
        match self {
            Self::Float(param) => param.val(),
            Self::Blocks(Blocks { device, .. }) => self.on(device, DType::F32),
        }
    }

    /// The values on `device` as `dtype`, where what is multiplied with them lies; a parameter is there already.
    pub(crate) fn on(&self, device: &Device, dtype: DType) -> Tensor<2> {
        match self {
            Self::Float(param) => param.val(),
            Self::Blocks(Blocks { matrix, .. }) => {
                let data = TensorData::new(matrix.dequantize(), [matrix.rows(), matrix.columns()]);
                Tensor::from_data(data, (device, dtype))
            }
        }
    }

    /// `[rows, columns]`; makes no parameter.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Float(param) => param.lazy_shape().dims(),
            Self::Blocks(Blocks { matrix, .. }) => [matrix.rows(), matrix.columns()],
        }
    }

    /// The type that is computed in: f32 for blocks.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Float(param) => param.val().dtype(),
            Self::Blocks(_) => DType::F32,
        }
    }

    /// Where the model computes.
    pub fn device(&self) -> Device {
        match self {
            Self::Float(param) => param.lazy_device(),
            Self::Blocks(Blocks { device, .. }) => device.clone(),
        }
    }

    /// The parameter; none for blocks.
    pub fn param(&self) -> Option<&Param<Tensor<2>>> {
        match self {
            Self::Float(param) => Some(param),
            Self::Blocks(_) => None,
        }
    }

    /// The blocks; none for a parameter.
    pub fn blocks(&self) -> Option<&QuantizedMatrix> {
        match self {
            Self::Float(_) => None,
            Self::Blocks(Blocks { matrix, .. }) => Some(matrix),
        }
    }

    /// Blocks in place of a parameter of the same shape, which is dropped unmade if it was lazy.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn hold(&mut self, matrix: QuantizedMatrix) {
        assert_eq!(self.dims(), [matrix.rows(), matrix.columns()], "blocks have the shape of the parameter");
        *self = Self::Blocks(Blocks { matrix, device: self.device() });
    }
}

impl From<Param<Tensor<2>>> for Weight {
    fn from(param: Param<Tensor<2>>) -> Self {
        Self::Float(param)
    }
}
