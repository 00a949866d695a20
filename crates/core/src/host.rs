//! Tensors of the CPU backend as slices of main memory, for what this project computes itself.
//!
//! A tensor on another device, of another type, or one that gradients are kept for, has no such slice: then
//! Burn's own operations compute, or those of [`gradients`](crate::gradients).
#![allow(clippy::result_large_err, reason = "a tensor that cannot be used is given back")]

use burn::tensor::{Device, Tensor, TensorData};

#[cfg(feature = "flex")]
use burn::backend::{Autodiff, Flex, flex::FlexTensor};

/// The values of a tensor in main memory, row by row. It holds on to them, so that nobody changes them meanwhile.
#[derive(Debug)]
pub struct HostTensor {
    #[cfg(feature = "flex")]
    tensor: FlexTensor,
    #[cfg(not(feature = "flex"))]
    never: std::convert::Infallible,
}

impl HostTensor {
    /// The f32 values of `x`, without a copy unless they lie in another order than its rows; none if `x` is not
    /// plainly in main memory.
    pub fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        Self::from(x.clone())
    }

    /// As [`of`](Self::of), giving `x` up.
    pub fn from<const D: usize>(x: Tensor<D>) -> Option<Self> {
        #[cfg(feature = "flex")]
        {
            primitive(x).map(Self::by_rows)
        }
        #[cfg(not(feature = "flex"))]
        {
            let _ = x;
            None
        }
    }

    /// Of a tensor of f32.
    #[cfg(feature = "flex")]
    pub(crate) fn by_rows(tensor: FlexTensor) -> Self {
        let tensor = if tensor.layout().contiguous_offsets().is_some() { tensor } else { tensor.to_contiguous() };
        Self { tensor }
    }

    /// The values.
    pub fn values(&self) -> &[f32] {
        #[cfg(feature = "flex")]
        {
            let (begin, end) = self.tensor.layout().contiguous_offsets().unwrap_or((0, 0));
            &self.tensor.storage::<f32>()[begin..end]
        }
        #[cfg(not(feature = "flex"))]
        match self.never {}
    }

    /// The values, to be changed: without a copy where nobody else holds them.
    pub fn into_values(self) -> Vec<f32> {
        #[cfg(feature = "flex")]
        {
            // It is one of f32, so that nothing can fail.
            self.tensor.into_data().try_into_vec().unwrap_or_default()
        }
        #[cfg(not(feature = "flex"))]
        match self.never {}
    }
}

/// The f32 values of `x`, row by row, to be changed: without a copy where nobody else holds them. Gives `x` back
/// if it is not plainly in main memory.
///
/// # Errors
///
/// `x` itself, as it was.
pub fn take<const D: usize>(x: Tensor<D>) -> Result<Vec<f32>, Tensor<D>> {
    #[cfg(feature = "flex")]
    {
        if !is_plain(&x) {
            return Err(x);
        }
        // A plain tensor is one of f32, so that neither can fail; a copy is all that a mistake here would cost.
        let data = x.into_data();
        Ok(data.try_into_vec().unwrap_or_default())
    }
    #[cfg(not(feature = "flex"))]
    Err(x)
}

/// Whether the values of `x` are f32 in main memory, and no gradients are kept for it.
pub fn is_plain<const D: usize>(x: &Tensor<D>) -> bool {
    #[cfg(feature = "flex")]
    {
        primitive(x.clone()).is_some()
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = x;
        false
    }
}

/// Whether `device` computes in main memory and keeps no gradients.
pub fn is_of(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    {
        Tensor::<1>::zeros([1], device).try_into_primitive::<Flex>().is_ok()
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// The tensor of `values`, without a copy.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(feature = "flex")]
fn primitive<const D: usize>(x: Tensor<D>) -> Option<FlexTensor> {
    let tensor = match x.clone().try_into_primitive::<Flex>() {
        Ok(tensor) => tensor,
        Err(_) => {
            let learning = x.try_into_primitive::<Autodiff<Flex>>().ok()?;
            if learning.is_tracked() {
                return None;
            }
            learning.into_primitive()
        }
    };
    (tensor.dtype() == burn::tensor::DType::F32).then_some(tensor)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    fn counted(device: &Device) -> Tensor<2> {
        tensor((0..6).map(|n| n as f32).collect(), [2, 3], device)
    }

    #[test]
    fn views_and_slices_are_read_in_their_own_order() {
        let x = counted(&Device::flex());
        assert_eq!(HostTensor::of(&x).unwrap().values(), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(HostTensor::from(x.clone().transpose()).unwrap().values(), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(HostTensor::from(x.clone().narrow(0, 1, 1)).unwrap().values(), [3., 4., 5.]);
        assert_eq!(HostTensor::from(x.clone().narrow(1, 1, 2)).unwrap().values(), [1., 2., 4., 5.]);
        assert_eq!(take(x.clone().narrow(0, 1, 1)).unwrap(), [3., 4., 5.]);
        assert_eq!(take(x.transpose()).unwrap(), [0., 3., 1., 4., 2., 5.]);
    }

    #[test]
    fn a_shared_tensor_is_read_in_place_and_taken_as_a_copy() {
        let x = counted(&Device::flex());
        let (one, two) = (HostTensor::of(&x).unwrap(), HostTensor::of(&x).unwrap());
        assert_eq!(one.values().as_ptr(), two.values().as_ptr());
        let mut taken = take(x.clone()).unwrap();
        taken[0] = 9.0;
        assert_eq!(one.values()[0], 0.0);
        drop((one, two));
        let place = HostTensor::of(&x).unwrap().values().as_ptr() as usize;
        let taken = take(x).unwrap();
        assert_eq!(taken.as_ptr() as usize, place);
    }

    #[test]
    fn what_does_not_learn_is_plain_on_a_device_with_gradients_too() {
        let device = Device::flex().autodiff();
        let x = counted(&device);
        assert_eq!(HostTensor::of(&x).unwrap().values(), [0., 1., 2., 3., 4., 5.]);
        let values = take(x).unwrap();
        let again = tensor::<2>(values, [2, 3], &device).require_grad();
        assert!(!is_plain(&(again * 2.0)));
    }

    #[test]
    fn other_tensors_have_no_values_here() {
        let device = Device::flex();
        let learning = counted(&device.clone().autodiff()).require_grad();
        assert!(HostTensor::of(&learning).is_none());
        assert_eq!(take(learning).unwrap_err().dims(), [2, 3]);
        assert!(!is_plain(&counted(&device).cast(burn::tensor::DType::F16)));
    }
}
