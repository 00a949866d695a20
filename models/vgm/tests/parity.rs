//! The guard head against PyTorch's (xtask/goldens/vgm.py), and the published sizes.

#[path = "../../../crates/nn/tests/support/half.rs"]
mod half;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_nn::{GuardHead, ImageTokens};
use safevlm_vgm::{Vgm, VgmConfig};
use serde_json::Value;

const GOLDEN: &str = include_str!("goldens/tiny.json");

fn golden() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

fn numbers(golden: &Value, name: &str) -> Vec<f32> {
    serde_json::from_value(golden[name].clone()).unwrap()
}

fn tensor<const D: usize>(golden: &Value, name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(golden, name), shape), device)
}

fn tiny(golden: &Value, device: &Device) -> Vgm {
    let mut head = VgmConfig::new(32).init(device);
    head.fc1.weight = Param::from_tensor(tensor(golden, "fc1.weight", [16, 32], device)).into();
    head.fc1.bias = Some(Param::from_tensor(tensor(golden, "fc1.bias", [16], device)));
    head.fc2.weight = Param::from_tensor(tensor(golden, "fc2.weight", [20, 16], device)).into();
    head.fc2.bias = Some(Param::from_tensor(tensor(golden, "fc2.bias", [20], device)));
    head
}

fn assert_close(what: &str, ours: Tensor<2>, reference: &[f32]) {
    let ours = ours.into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(ours.len(), reference.len(), "{what}: sizes differ");
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-5, "{what}: differs by {worst}");
}

/// The states of the visual tokens, of which the three rows have different numbers.
fn visual(golden: &Value, hidden: Tensor<3>) -> ImageTokens {
    let mask: Vec<bool> = serde_json::from_value(golden["visual"].clone()).unwrap();
    let counts = mask.chunks(7).map(|row| row.iter().filter(|visual| **visual).count()).collect();
    let places: Vec<i32> = (0..).zip(&mask).filter(|(_, visual)| **visual).map(|(at, _)| at).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places.clone(), [places.len()]), &hidden.device());
    ImageTokens::new(hidden.reshape([21, 32]).select(0, places), counts)
}

#[test]
fn every_stage_equals_pytorchs() {
    let golden = golden();
    let plain = DeviceSpec::Flex.open().unwrap().0;
    for device in [plain.clone(), plain.clone().autodiff()] {
        // On an autodiff device dropout is active until the head is frozen.
        let head = tiny(&golden, &device).freeze();
        let pooled = head.forward(tensor(&golden, "pooled", [3, 32], &device));
        assert_close("logits of the pooled states", pooled, &numbers(&golden, "logits"));
        let hidden = tensor(&golden, "hidden", [3, 7, 32], &device);
        let logits = head.classify(visual(&golden, hidden));
        assert_close("logits of the hidden states", logits, &numbers(&golden, "logits"));
    }
}

#[test]
fn the_logits_of_half_precision_are_f32() {
    let golden = golden();
    let device = DeviceSpec::Flex.open().unwrap().0;
    let single = tiny(&golden, &device);
    for dtype in half::HALVES {
        let hidden = tensor(&golden, "hidden", [3, 7, 32], &device).cast(dtype);
        let head = half::cast(single.clone(), dtype);
        let widened = half::cast(head.clone(), DType::F32);
        let exact = widened.classify(visual(&golden, hidden.clone().cast(DType::F32)));
        let ours = head.classify(visual(&golden, hidden.clone()));
        half::compare_logits("logits", ours, exact.clone(), dtype, 0);
        // A head in f32 behind a language model in half precision loses nothing.
        let ours = widened.classify(visual(&golden, hidden));
        assert_eq!(half::values(ours), half::values(exact));
    }
}

#[test]
fn images_with_as_many_tokens_are_pooled_alike() {
    let golden = golden();
    let device = DeviceSpec::Flex.open().unwrap().0;
    let head = tiny(&golden, &device);
    let hidden: Tensor<3> = tensor(&golden, "hidden", [3, 7, 32], &device);
    let together = head.classify(ImageTokens::equal(hidden.clone())).into_data().try_into_vec::<f32>().unwrap();
    for (row, together) in together.chunks(20).enumerate() {
        let alone = ImageTokens::equal(hidden.clone().narrow(0, row, 1));
        assert_close("alone", head.classify(alone), together);
    }
}

#[test]
fn a_meta_token_is_what_the_head_of_v1_looks_at() {
    let golden = golden();
    let device = DeviceSpec::Flex.open().unwrap().0;
    let config = VgmConfig::new(32).with_safety_meta_token(true);
    let mut head = tiny(&golden, &device);
    head.meta_token = config.init(&device).meta_token;
    assert_eq!(head.meta_token().unwrap().dims(), [1, 32]);
    let pooled = tensor(&golden, "pooled", [3, 32], &device);
    let before = Tensor::<2>::ones([3, 32], &device);
    let states = Tensor::stack::<3>(vec![before.clone(), before, pooled], 1);
    assert_close("last states", head.classify(ImageTokens::equal(states)), &numbers(&golden, "logits"));
}

#[test]
fn dropout_acts_in_training_only() {
    let golden = golden();
    let device = DeviceSpec::Flex.open().unwrap().0.autodiff();
    let head = tiny(&golden, &device);
    let draws: Vec<Vec<f32>> = (0..8)
        .map(|_| head.forward(tensor(&golden, "pooled", [3, 32], &device)).into_data().try_into_vec().unwrap())
        .collect();
    assert!(draws.iter().any(|draw| *draw != draws[0]), "no dropout while training");
}

#[test]
fn published_heads_have_their_number_of_parameters() {
    let device = DeviceSpec::Flex.open().unwrap().0;
    for (hidden, parameters) in
        [(3584, 6_460_180), (4096, 8_431_636), (5120, 13_160_980), (3840, 7_413_140), (5376, 14_507_156)]
    {
        assert_eq!(VgmConfig::new(hidden).init(&device).num_params(), parameters, "hidden size {hidden}");
    }
}
