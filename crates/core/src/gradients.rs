//! Operations over main memory that gradients flow through.
//!
//! An [`Input`] is a tensor's values, whether or not gradients are kept for it. [`record`] makes a tensor of what was
//! computed from inputs, and tells Burn's autodiff the way back, which is again a function over slices.
//!
//! Tensors of a device that recomputes what it does not keep (Burn's balanced checkpointing) are no inputs.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use burn::backend::autodiff::{checkpoint::base::Checkpointer, grads::Gradients, ops};
#[cfg(feature = "flex")]
use burn::backend::{
    Autodiff, Flex, autodiff::checkpoint::strategy::NoCheckpointing, flex::FlexTensor, tensor::FloatTensor,
};
#[cfg(feature = "flex")]
use burn::tensor::{DType, Shape, TensorData};

use crate::host::HostTensor;

/// A tensor of f32 in main memory that an operation computes with.
#[derive(Debug)]
pub struct Input {
    #[cfg(feature = "flex")]
    tensor: Kind,
    #[cfg(not(feature = "flex"))]
    never: std::convert::Infallible,
}

#[cfg(feature = "flex")]
#[derive(Debug)]
enum Kind {
    /// Of a device without gradients.
    Plain(FlexTensor),
    /// Of one with gradients, which may or may not be kept for this tensor.
    Learning(FloatTensor<Autodiff<Flex>>),
}

impl Input {
    /// `x`, if its values are f32 in main memory.
    pub fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        #[cfg(feature = "flex")]
        {
            let tensor = match x.clone().try_into_primitive::<Flex>() {
                Ok(tensor) => Kind::Plain(tensor),
                Err(_) => Kind::Learning(x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?),
            };
            (x.dtype() == DType::F32).then_some(Self { tensor })
        }
        #[cfg(not(feature = "flex"))]
        {
            let _ = x;
            None
        }
    }

    /// Its values, without a copy unless they lie in another order than its rows.
    pub fn values(&self) -> HostTensor {
        #[cfg(feature = "flex")]
        match &self.tensor {
            Kind::Plain(tensor) => HostTensor::by_rows(tensor.clone()),
            Kind::Learning(tensor) => HostTensor::by_rows(tensor.primitive().clone()),
        }
        #[cfg(not(feature = "flex"))]
        match self.never {}
    }

    /// Whether a gradient is kept for it.
    pub fn learns(&self) -> bool {
        #[cfg(feature = "flex")]
        match &self.tensor {
            Kind::Plain(_) => false,
            Kind::Learning(tensor) => tensor.is_tracked(),
        }
        #[cfg(not(feature = "flex"))]
        match self.never {}
    }
}

/// The tensor of `values`, which were computed from `inputs`.
///
/// In a backward pass `backward` is given the gradient of `values`, and which inputs learn; for each of these it gives
/// the gradient, as many values as the input has, which is added to what the input gets from elsewhere. It is only
/// called if an input learns, and should hold on to no more of them than it needs.
pub fn record<const D: usize, const N: usize>(
    inputs: [Input; N],
    values: Vec<f32>,
    shape: [usize; D],
    backward: impl FnOnce(HostTensor, [bool; N]) -> [Option<Vec<f32>>; N] + Send + 'static,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    {
        let output = FlexTensor::from_data(TensorData::new(values, shape));
        if inputs.iter().all(|input| matches!(input.tensor, Kind::Plain(_))) {
            return Tensor::from_primitive::<Flex>(output);
        }
        // Beside tensors that could learn, others are constants.
        let inputs = inputs.map(|input| match input.tensor {
            Kind::Plain(tensor) => <Autodiff<Flex> as burn::backend::AutodiffBackend>::from_inner(tensor),
            Kind::Learning(tensor) => tensor,
        });
        let shapes = inputs.each_ref().map(burn::backend::TensorMetadata::shape);
        let nodes = inputs.each_ref().map(|input| input.node());
        let step = Step { backward, shapes };
        let step = ops::Backward::<Flex, N>::prepare::<NoCheckpointing>(step, nodes).compute_bound();
        Tensor::from_primitive::<Autodiff<Flex>>(step.stateless(output))
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = (values, shape, backward);
        for input in inputs {
            match input.never {}
        }
        unreachable!("an operation has inputs")
    }
}

/// The way back through one operation.
#[cfg(feature = "flex")]
struct Step<F, const N: usize> {
    backward: F,
    shapes: [Shape; N],
}

#[cfg(feature = "flex")]
impl<F, const N: usize> std::fmt::Debug for Step<F, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

#[cfg(feature = "flex")]
impl<F, const N: usize> ops::Backward<Flex, N> for Step<F, N>
where
    F: FnOnce(HostTensor, [bool; N]) -> [Option<Vec<f32>>; N] + Send + 'static,
{
    type State = ();

    fn backward(self, ops: ops::Ops<(), N>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let output = HostTensor::by_rows(gradients.consume::<Flex>(&ops.node));
        let found = (self.backward)(output, ops.parents.each_ref().map(Option::is_some));
        for ((parent, found), shape) in ops.parents.into_iter().zip(found).zip(self.shapes) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<Flex>(parent.id, FlexTensor::from_data(TensorData::new(found, shape)));
            }
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// `x · y`, value by value; counts the gradients that it is asked for.
    fn times(x: &Tensor<2>, y: &Tensor<2>, asked: fn([bool; 2])) -> Option<Tensor<2>> {
        let inputs = [Input::of(x)?, Input::of(y)?];
        let values = inputs.each_ref().map(Input::values);
        let products = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).collect::<Vec<f32>>();
        let out = products(values[0].values(), values[1].values());
        Some(record(inputs, out, x.dims(), move |grad, wanted| {
            asked(wanted);
            [0, 1].map(|of| wanted[of].then(|| products(grad.values(), values[1 - of].values())))
        }))
    }

    fn counted(device: &Device) -> Tensor<2> {
        Tensor::from_data([[0., 1., 2.], [3., 4., 5.]], device)
    }

    fn read(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn gradients_reach_what_learns_and_add_up() {
        let device = Device::flex().autodiff();
        let x = counted(&device).require_grad();
        let y = counted(&device).mul_scalar(10.0);
        let once = times(&x, &y, |wanted| assert_eq!(wanted, [true, false])).unwrap();
        let twice = times(&once, &x, |wanted| assert_eq!(wanted, [true, true])).unwrap();
        let gradients = (twice + x.clone()).sum().backward();
        // The slope of y · x² + x, where y is 10 times what x is.
        assert_eq!(read(x.grad(&gradients).unwrap()), [1., 21., 81., 181., 321., 501.]);
        assert!(y.grad(&gradients).is_none());
    }

    #[test]
    fn views_and_tensors_of_a_plain_device_are_inputs_too() {
        let device = Device::flex();
        let x = counted(&device.clone().autodiff()).require_grad();
        let y = counted(&device).transpose();
        let product = times(&x.clone().transpose(), &y, |wanted| assert_eq!(wanted, [true, false])).unwrap();
        assert_eq!(read(product.clone()), [0., 9., 1., 16., 4., 25.]);
        // An expanded gradient, in another order than the rows.
        let gradients = product.transpose().sum().backward();
        assert_eq!(read(x.grad(&gradients).unwrap()), read(counted(&device)));
    }

    #[test]
    fn without_gradients_nothing_is_asked_for() {
        let none = |_| panic!("no gradient is wanted");
        let device = Device::flex();
        let plain = times(&counted(&device), &counted(&device), none).unwrap();
        assert_eq!(read(plain), [0., 1., 4., 9., 16., 25.]);
        let device = device.autodiff();
        let product = times(&counted(&device), &counted(&device), none).unwrap();
        let one = Tensor::<1>::ones([1], &device).require_grad();
        let gradients = (product.sum() * one.clone()).backward();
        assert_eq!(one.grad(&gradients).unwrap().into_scalar::<f32>(), 55.0);
    }

    #[test]
    fn other_tensors_are_no_inputs() {
        let device = Device::flex();
        assert!(Input::of(&counted(&device).cast(DType::F16)).is_none());
        let device = device.autodiff().gradient_checkpointing();
        assert!(Input::of(&counted(&device)).is_none());
    }
}
