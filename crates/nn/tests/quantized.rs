//! Layers whose matrices are blocks of few bits, against the same values as parameters.

use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_kernels::quant::{BlockFormat, QuantizedMatrix};
use safevlm_nn::{Embedding, Linear, LinearConfig, LoraAdapterConfig, Weight};

/// Activations are rounded to eight bits in groups of 32: half a step of 1/127 of the largest, on every input.
const ROUNDING: f32 = 0.02;

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// The greatest difference, as a share of the greatest reference value.
fn difference(ours: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(ours.len(), reference.len());
    let most = reference.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    ours.iter().zip(reference).map(|(a, b)| (a - b).abs() / most).fold(0.0, f32::max)
}

/// A layer in blocks, and the same with its values as a parameter.
fn pair(input: usize, output: usize, format: BlockFormat) -> (Linear, Linear) {
    let mut blocks = LinearConfig::new(input, output).init(&device());
    let matrix = QuantizedMatrix::quantize(format, &values(blocks.weight.val()), input).unwrap();
    let mut floats = blocks.clone();
    floats.weight = Param::from_data(TensorData::new(matrix.dequantize(), [output, input]), &device()).into();
    blocks.weight.hold(matrix);
    (blocks, floats)
}

#[test]
fn a_layer_in_blocks_computes_what_its_values_say() {
    for format in [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::Q4_1, BlockFormat::Q4K, BlockFormat::BF16] {
        let (blocks, floats) = pair(256, 40, format);
        assert_eq!((blocks.weight.dims(), blocks.weight.param().is_none()), ([40, 256], true));
        assert_eq!(values(blocks.weight.val()), values(floats.weight.val()));
        for tokens in [1, 5, 33] {
            let x = random([2, tokens, 256]);
            let (ours, reference) = (values(blocks.forward(x.clone())), values(floats.forward(x)));
            let apart = difference(&ours, &reference);
            assert!(apart < ROUNDING, "{format}, {tokens} tokens: {apart}");
        }
    }
}

#[test]
fn layers_together_compute_what_each_computes() {
    let (a, b) = (pair(64, 32, BlockFormat::Q8_0), pair(64, 7, BlockFormat::Q4_1));
    let x = random([1, 3, 64]);
    for layers in [[&a.0, &b.0], [&a.1, &b.1], [&a.0, &b.1], [&a.1, &b.0]] {
        let together = Linear::forward_together(layers, x.clone());
        for (layer, together) in layers.into_iter().zip(together) {
            assert_eq!(together.dims(), [1, 3, layer.weight.dims()[0]]);
            assert!(difference(&values(together), &values(layer.forward(x.clone()))) < 1e-6);
        }
    }
}

#[test]
fn gradients_flow_through_blocks_and_adapters_beside_them() {
    let (blocks, floats) = pair(64, 16, BlockFormat::Q8_0);
    assert_eq!(blocks.num_params(), 16, "only the bias is a parameter");
    let x = random([4, 64]);
    let gradient = |layer: &Linear| {
        let x = Tensor::<2>::from_data(x.to_data(), &device().autodiff()).require_grad();
        let layer = layer.clone().to_device(&device().autodiff());
        let gradients = layer.forward_2d(x.clone()).square().sum().backward();
        values(x.grad(&gradients).unwrap().inner())
    };
    assert!(difference(&gradient(&blocks), &gradient(&floats)) < 1e-5);
    let adapted = blocks.clone().with_lora(&LoraAdapterConfig::new(2, 4.0));
    assert_eq!(adapted.weight.dims(), [16, 64]);
    assert!(difference(&values(adapted.forward_2d(x.clone())), &values(blocks.forward_2d(x))) < 1e-6);
}

#[test]
fn an_embedding_in_blocks_looks_rows_up_and_gives_logits() {
    let mut table = Embedding::new(20, 32, &device());
    let matrix = QuantizedMatrix::quantize(BlockFormat::Q4_0, &values(table.weight.val()), 32).unwrap();
    let floats =
        Embedding { weight: Param::from_data(TensorData::new(matrix.dequantize(), [20, 32]), &device()).into() };
    table.weight.hold(matrix);
    let ids = Tensor::<2, Int>::from_data([[3, 19, 0], [7, 7, 1]], &device());
    assert_eq!(values(table.forward(ids.clone())), values(floats.forward(ids)));
    let hidden = random([2, 32]);
    assert!(difference(&values(table.logits(hidden.clone())), &values(floats.logits(hidden))) < ROUNDING);
}

#[test]
#[should_panic(expected = "row 20 is asked of a weight that has 20")]
fn an_id_without_a_row_is_no_other_row() {
    let mut table = Embedding::new(20, 32, &device());
    table.weight.hold(QuantizedMatrix::quantize(BlockFormat::Q8_0, &[0.5; 20 * 32], 32).unwrap());
    table.forward(Tensor::<2, Int>::from_data([[20]], &device()));
}

#[test]
#[should_panic(expected = "blocks have the shape of the parameter")]
fn blocks_of_another_shape_are_no_weight() {
    let mut weight = Weight::Float(Param::from_tensor(random([4, 32])));
    weight.hold(QuantizedMatrix::quantize(BlockFormat::Q8_0, &[0.5; 5 * 32], 32).unwrap());
}
