//! The layers of vision transformers, each against a case small enough to check by hand, or against the
//! operation that it stands for.

use burn::module::Param;
use burn::tensor::activation::softmax;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_nn::{
    Activation, EncoderLayerConfig, LayerNormConfig, PatchEmbeddingConfig, PlainMlpConfig, SelfAttentionConfig,
};

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &device())
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

#[track_caller]
fn assert_close(ours: &[f32], reference: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), reference.len(), "sizes differ");
    for (at, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert!((a - b).abs() <= tolerance, "value {at}: {a}, expected {b}");
    }
}

#[test]
fn activations_equal_their_formulas() {
    let points = [-30.0f32, -5.0, -1.5, -0.3, 0.0, 0.2, 1.0, 4.0, 30.0];
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let tanh = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
    // The exact GELU at these points, from tables of the normal distribution.
    let gelu = [0.0, -1.433_258e-6, -0.100_210_8, -0.114_626_6, 0.0, 0.115_852, 0.841_344_7, 3.999_873_3, 30.0];
    let expected = |f: &dyn Fn(f64) -> f64| points.map(|x| f(f64::from(x)) as f32);
    for (name, reference) in [
        ("gelu", gelu),
        ("gelu_pytorch_tanh", expected(&tanh)),
        ("gelu_new", expected(&tanh)),
        ("quick_gelu", expected(&|x| x * sigmoid(1.702 * x))),
        ("silu", expected(&|x| x * sigmoid(x))),
        ("swish", expected(&|x| x * sigmoid(x))),
    ] {
        let activation = Activation::from_hf(name).unwrap();
        assert_close(&values(activation.forward(tensor(&points, [3, 3]))), &reference, 1e-6);
        assert!(Activation::NAMES.contains(&format!("\"{name}\"")));
    }
    assert_eq!(Activation::from_hf("relu"), None);
}

#[test]
fn the_layer_norm_equals_a_case_by_hand() {
    let mut norm = LayerNormConfig::new(4).with_eps(3.0).init(&device());
    norm.weight = Param::from_tensor(tensor(&[1.0, 2.0, -1.0, 0.0], [4]));
    norm.bias = Param::from_tensor(tensor(&[0.0, 1.0, 0.0, 5.0], [4]));
    // Mean 4, variance 13 (of all four, not of three): the root of 13 + 3 is 4.
    let y = norm.forward(tensor(&[-1.0, 5.0, 3.0, 9.0], [1, 1, 4]));
    assert_close(&values(y), &[-1.25, 1.5, 0.25, 5.0], 1e-6);
}

#[test]
fn patches_equal_a_convolution() {
    let device = device();
    for (bias, [height, width]) in [(true, [6, 9]), (false, [8, 7])] {
        let embedding = PatchEmbeddingConfig::new(3, 5).with_bias(bias).init(&device);
        let pixels = random([2, 3, height, width]);
        let tokens = embedding.forward(pixels.clone());
        assert_eq!(tokens.dims(), [2, (height / 3) * (width / 3), 5]);
        let options = ConvOptions::new([3, 3], [0, 0], [1, 1], 1);
        let map = conv2d(pixels, embedding.weight.val(), embedding.bias.map(|bias| bias.val()), options);
        let expected: Tensor<3> = map.flatten::<3>(2, 3).swap_dims(1, 2);
        assert_close(&values(tokens), &values(expected), 1e-5);
    }
}

#[test]
fn every_token_sees_every_other() {
    let device = device();
    let attention = SelfAttentionConfig::new(8, 2).init(&device);
    let x = random([2, 5, 8]);
    let y = attention.forward(x.clone());
    for token in 0..5 {
        let moved = x.clone().slice_assign([0..1, token..token + 1, 0..8], random([1, 1, 8]));
        let moved = attention.forward(moved);
        for other in 0..5 {
            let at = [0..1, other..other + 1, 0..8];
            assert_ne!(values(moved.clone().slice(at.clone())), values(y.clone().slice(at)), "{token} to {other}");
        }
        // The other image of the batch does not.
        assert_close(&values(moved.narrow(0, 1, 1)), &values(y.clone().narrow(0, 1, 1)), 1e-6);
    }
    // Without positions, the order of the tokens changes the order of the results only.
    let backwards = attention.forward(x.flip([1])).flip([1]);
    assert_close(&values(backwards), &values(y), 1e-5);
}

#[test]
fn attention_equals_its_formula() {
    let device = device();
    let attention = SelfAttentionConfig::new(6, 2).init(&device);
    // From about 512 tokens on, `flex` computes it in tiles: LLaVA-1.5 has 577.
    for tokens in [4, 577] {
        let x = random([1, tokens, 6]);
        let heads = |linear: &safevlm_nn::Linear| linear.forward(x.clone()).reshape([tokens, 2, 3]).swap_dims(0, 1);
        let (query, key, value) = (heads(&attention.q_proj), heads(&attention.k_proj), heads(&attention.v_proj));
        let scores = query.matmul(key.swap_dims(1, 2)) / 3f32.sqrt();
        let mixed = softmax(scores, 2).matmul(value).swap_dims(0, 1).reshape([1, tokens, 6]);
        assert_close(&values(attention.forward(x)), &values(attention.out_proj.forward(mixed)), 1e-5);
    }
}

#[test]
fn a_layer_adds_to_its_input() {
    let device = device();
    let mut layer = EncoderLayerConfig::new(4, 8, 2, Activation::Gelu).init(&device);
    let x = random([2, 3, 4]);
    assert_ne!(values(layer.forward(x.clone())), values(x.clone()));
    let zero = |linear: &mut safevlm_nn::Linear| {
        let [out, input] = linear.weight.dims();
        linear.weight = Param::from_tensor(Tensor::zeros([out, input], &device)).into();
        linear.bias = None;
    };
    zero(&mut layer.self_attn.out_proj);
    let fed = layer.mlp.forward(layer.layer_norm2.forward(x.clone()));
    assert_close(&values(layer.forward(x.clone())), &values(x.clone() + fed), 1e-6);
    zero(&mut layer.mlp.fc2);
    assert_eq!(values(layer.forward(x.clone())), values(x));
}

#[test]
fn the_mlp_activates_between_its_layers() {
    let mut mlp = PlainMlpConfig::new(2, 2, Activation::Silu).init(&device());
    mlp.fc1.weight = Param::from_tensor(tensor(&[1.0, 0.0, 0.0, -2.0], [2, 2])).into();
    mlp.fc1.bias = Some(Param::from_tensor(tensor(&[0.5, 0.0], [2])));
    mlp.fc2.weight = Param::from_tensor(tensor(&[1.0, 1.0, 0.0, 3.0], [2, 2])).into();
    mlp.fc2.bias = Some(Param::from_tensor(tensor(&[0.0, -1.0], [2])));
    let silu = |x: f32| x / (1.0 + (-x).exp());
    let y = mlp.forward(tensor(&[1.0, 0.7], [1, 1, 2]));
    assert_close(&values(y), &[silu(1.5) + silu(-1.4), 3.0 * silu(-1.4) - 1.0], 1e-6);
}
