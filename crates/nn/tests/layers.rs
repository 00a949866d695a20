//! Cache, rotary positions, norm and LoRA, each against a case small enough to check by hand.

use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_nn::{
    KvCache, Linear, LinearConfig, LoraAdapterConfig, Positions, RmsNormConfig, RopeScaling, Rotary, RotaryConfig,
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
fn the_cache_is_a_concatenation() {
    let device = device();
    let mut cache = KvCache::new(2, 2, 3, 9, 4, &device);
    assert!(cache.is_empty());
    assert_eq!(cache.capacity(), 9);
    let mut seen: [Option<(Tensor<4>, Tensor<4>)>; 2] = [None, None];
    let mut length = 0;
    for tokens in [4, 1, 3, 1] {
        for (layer, seen) in seen.iter_mut().enumerate() {
            let (keys, vals) = (random([2, 3, tokens, 4]), random([2, 3, tokens, 4]));
            let all = cache.append(layer, keys.clone(), vals.clone());
            let expected = match seen.take() {
                None => (keys, vals),
                Some((k, v)) => (Tensor::cat(vec![k, keys], 2), Tensor::cat(vec![v, vals], 2)),
            };
            assert_eq!(all.0.dims(), [2, 3, length + tokens, 4]);
            assert_eq!(values(all.0), values(expected.0.clone()), "keys of layer {layer}");
            assert_eq!(values(all.1), values(expected.1.clone()), "values of layer {layer}");
            *seen = Some(expected);
            // The other layers still have to write behind the same tokens.
            assert_eq!(cache.len(), length);
        }
        cache.advance(tokens);
        length += tokens;
        assert_eq!(cache.len(), length);
    }
}

#[test]
fn what_the_cache_returned_stays_as_it_was() {
    let mut cache = KvCache::new(1, 1, 1, 3, 2, &device());
    let first = tensor(&[1.0, 2.0], [1, 1, 1, 2]);
    let (before, _) = cache.append(0, first.clone(), first);
    cache.advance(1);
    let second = tensor(&[3.0, 4.0], [1, 1, 1, 2]);
    let (after, _) = cache.append(0, second.clone(), second);
    assert_eq!(values(before), [1.0, 2.0]);
    assert_eq!(values(after), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn rotation_equals_a_case_by_hand() {
    // Head width 4, base 100: frequencies 1 and 1/10; channel 0 turns with 2, channel 1 with 3.
    let rotary = RotaryConfig::new(4).with_theta(100.0).init();
    let x = tensor(&[1.0, 2.0, 3.0, 4.0], [1, 1, 1, 4]);
    let table = rotary.table(&Positions::from_ids(vec![3], 1, 1), &device());
    let ((s0, c0), (s1, c1)) = (3f32.sin_cos(), 0.3f32.sin_cos());
    let expected = [c0 - 3.0 * s0, 2.0 * c1 - 4.0 * s1, 3.0 * c0 + s0, 4.0 * c1 + 2.0 * s1];
    assert_close(&values(table.rotate(x)), &expected, 1e-6);
}

#[test]
fn rotation_keeps_lengths_and_depends_on_distances_only() {
    let device = device();
    let rotary = RotaryConfig::new(8).init();
    let lengths = |x: Tensor<4>| values(x.square().sum_dim(3));
    let x = random([2, 3, 5, 8]);
    let table = rotary.table(&Positions::from_ids((0..10).map(|n| n * 37).collect(), 2, 5), &device);
    assert_close(&lengths(table.rotate(x.clone())), &lengths(x.clone()), 1e-4);
    let still = rotary.table(&Positions::from_ids(vec![0; 10], 2, 5), &device);
    assert_eq!(values(still.rotate(x.clone())), values(x));

    let (query, key) = (random([1, 1, 1, 8]), random([1, 1, 1, 8]));
    let product = |at: i32, distance: i32| {
        let turn = |x: &Tensor<4>, at| rotary.table(&Positions::from_ids(vec![at], 1, 1), &device).rotate(x.clone());
        values((turn(&query, at) * turn(&key, at - distance)).sum())[0]
    };
    assert_close(&[product(50, 7)], &[product(7, 7)], 1e-4);
    assert!((product(50, 7) - product(50, 2)).abs() > 1e-3, "the distance has no effect");
}

#[test]
fn llama_3_slows_the_low_frequencies_only() {
    let scaling =
        RopeScaling { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position_embeddings: 32 };
    // Frequencies 1 (a turn takes 6.3 tokens: kept) and 1/100 (628 tokens: divided by 8).
    let x = tensor(&[1.0, 1.0, 0.0, 0.0], [1, 1, 1, 4]);
    let rotary = RotaryConfig::new(4).with_theta(10_000.0).with_scaling(Some(scaling)).init();
    let turned = values(rotary.table(&Positions::from_ids(vec![20], 1, 1), &device()).rotate(x));
    let slow = 20.0 / 100.0 / 8.0;
    assert_close(&turned, &[20f32.cos(), f32::cos(slow), 20f32.sin(), f32::sin(slow)], 1e-5);
}

#[test]
fn sections_turn_with_their_own_axis() {
    // Head width 8, base 10000: frequencies 1, 1/10, 1/100, 1/1000; one for time, one for the row, two for the column.
    let rotary = RotaryConfig::new(8).with_sections(vec![1, 1, 2]).init();
    let positions = Positions::from_axes(vec![vec![3], vec![5], vec![7]], 1, 1);
    let x = tensor(&[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [1, 1, 1, 8]);
    let turned = values(rotary.table(&positions, &device()).rotate(x.clone()));
    let angles = [3.0, 0.5, 0.07, 0.007];
    assert_close(&turned, &[angles.map(f32::cos), angles.map(f32::sin)].concat(), 1e-6);

    // A token of text has one position for all sections, and so turns as without them.
    let text = Positions::from_ids(vec![4], 1, 1);
    let plain = RotaryConfig::new(8).init();
    let turn = |rotary: &Rotary, positions| values(rotary.table(positions, &device()).rotate(x.clone()));
    assert_eq!(turn(&rotary, &text), turn(&plain, &text));
    assert_eq!(turn(&rotary, &Positions::from_axes(vec![vec![4]; 3], 1, 1)), turn(&plain, &text));
}

#[test]
fn two_axes_share_the_frequencies_of_half_a_head() {
    // Frequencies 1 and 1/10 for the row, and again for the column.
    let rotary = RotaryConfig::new(8).with_theta(100.0).init_axial(2);
    let positions = Positions::from_axes(vec![vec![2], vec![3]], 1, 1);
    let x = tensor(&[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [1, 1, 1, 8]);
    let angles = [2.0, 0.2, 3.0, 0.3];
    let turned = values(rotary.table(&positions, &device()).rotate(x));
    assert_close(&turned, &[angles.map(f32::cos), angles.map(f32::sin)].concat(), 1e-6);
}

#[test]
fn a_factor_slows_every_frequency() {
    let x = tensor(&[1.0, 1.0, 0.0, 0.0], [1, 1, 1, 4]);
    let rotary = RotaryConfig::new(4).with_theta(100.0).with_factor(8.0).init();
    let turned = values(rotary.table(&Positions::from_ids(vec![24], 1, 1), &device()).rotate(x));
    assert_close(&turned, &[3f32.cos(), 0.3f32.cos(), 3f32.sin(), 0.3f32.sin()], 1e-6);
}

#[test]
fn the_norm_equals_a_case_by_hand() {
    let mut norm = RmsNormConfig::new(2).with_eps(1.0).init(&device());
    norm.weight = Param::from_tensor(tensor(&[2.0, -1.0], [2]));
    // Mean square 24, root of 24 + 1.
    let y = norm.forward(tensor(&[4.0, 32f32.sqrt()], [1, 1, 2]));
    assert_close(&values(y), &[8.0 / 5.0, -(32f32.sqrt()) / 5.0], 1e-6);
}

#[test]
fn a_norm_with_unit_offset_scales_by_one_more() {
    let config = RmsNormConfig::new(2).with_eps(1.0).with_unit_offset(true);
    let x = tensor(&[4.0, 32f32.sqrt()], [1, 1, 2]);
    let mut norm = config.init(&device());
    assert_close(&values(norm.forward(x.clone())), &[4.0 / 5.0, 32f32.sqrt() / 5.0], 1e-6);
    norm.weight = Param::from_tensor(tensor(&[1.0, -2.0], [2]));
    assert_close(&values(norm.forward(x)), &[8.0 / 5.0, -(32f32.sqrt()) / 5.0], 1e-6);
}

/// A layer of known weights, `[out, in]`.
fn linear() -> Linear {
    let mut linear = LinearConfig::new(3, 2).init(&device());
    linear.weight = Param::from_tensor(tensor(&[1.0, 0.0, -1.0, 0.5, 2.0, 1.0], [2, 3])).into();
    linear.bias = Some(Param::from_tensor(tensor(&[10.0, -10.0], [2])));
    linear
}

#[test]
fn the_weight_is_kept_out_by_in() {
    let y = linear().forward(tensor(&[1.0, 2.0, 3.0, 0.0, 1.0, 0.0], [1, 2, 3]));
    assert_eq!(y.dims(), [1, 2, 2]);
    assert_eq!(values(y), [8.0, -2.5, 10.0, -8.0]);
}

#[test]
fn lora_equals_the_merged_weight() {
    let x = random([2, 4, 3]);
    let plain = linear();
    let mut adapted = linear().with_lora(&LoraAdapterConfig::new(2, 6.0));
    let lora = adapted.lora.as_mut().unwrap();
    assert_eq!((lora.a.dims(), lora.b.dims(), lora.scale), ([2, 3], [2, 2], 3.0));
    assert!(values(lora.a.val()).iter().any(|v| *v != 0.0));
    let b = lora.b.val();
    lora.b = Param::from_tensor(random([2, 2]));
    let (a, changed) = (lora.a.val(), lora.b.val());

    // A fresh adapter changes nothing; a trained one adds scale · B · A.
    assert_eq!(values(b), [0.0; 4]);
    let mut merged = linear();
    merged.weight = Param::from_tensor(plain.weight.val() + changed.matmul(a).mul_scalar(3.0)).into();
    let (ours, plain) = (values(adapted.forward(x.clone())), values(plain.forward(x.clone())));
    assert_close(&ours, &values(merged.forward(x)), 1e-5);
    assert!(ours.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 1e-3), "the adapter has no effect");
}

#[test]
fn an_adapters_dropout_acts_on_its_input_in_training_only() {
    let adapted = |device: &Device, dropout: f64| {
        let one = |shape: [usize; 2]| Param::from_tensor(Tensor::<2>::ones(shape, device));
        let config = LoraAdapterConfig::new(1, 1.0).with_dropout(dropout);
        let mut layer = LinearConfig::new(8, 1).with_bias(false).init(device).with_lora(&config);
        layer.weight = Param::from_tensor(Tensor::<2>::zeros([1, 8], device)).no_grad().into();
        let lora = layer.lora.as_mut().unwrap();
        (lora.a, lora.b) = (one([1, 8]), one([1, 1]));
        layer
    };
    let x = |device: &Device| Tensor::<2>::ones([64, 8], device);
    let (plain, training) = (device(), device().autodiff());
    assert_eq!(values(adapted(&plain, 0.5).forward_2d(x(&plain))), [8.0; 64]);
    assert_eq!(values(adapted(&training, 0.0).forward_2d(x(&training))), [8.0; 64]);
    // Each row keeps some of eight ones, twice as large.
    let dropped = values(adapted(&training, 0.5).forward_2d(x(&training)));
    assert!(dropped.iter().all(|y| (y / 2.0).fract() == 0.0 && (0.0..=16.0).contains(y)), "{dropped:?}");
    assert!(dropped.iter().any(|y| *y != dropped[0]), "{dropped:?}");
    let mean = dropped.iter().sum::<f32>() / 64.0;
    assert!((6.0..10.0).contains(&mean), "{mean}");
}

#[test]
fn an_adapted_layer_is_frozen_but_for_its_adapter() {
    let device = device().autodiff();
    let layer = LinearConfig::new(3, 2).init(&device).with_lora(&LoraAdapterConfig::new(2, 2.0));
    let lora = layer.lora.as_ref().unwrap();
    assert!(!layer.weight.val().is_require_grad() && !layer.bias.as_ref().unwrap().is_require_grad());
    assert!(lora.a.is_require_grad() && lora.b.is_require_grad());
    assert_eq!(layer.num_params(), 6 + 2 + 2 * 3 + 2 * 2);
}
