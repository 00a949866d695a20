//! Half precision, layer by layer: `flex` has every operation in it, and what must be f32 is.

#[path = "support/half.rs"]
mod half;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};
use half::{HALVES, cast, compare, epsilon, values};
use safevlm_core::DeviceSpec;
use safevlm_nn::precision::{in_f32, rounded};
use safevlm_nn::{
    Activation, AttentionMask, CausalAttentionConfig, Embedding, EncoderLayerConfig, GatedMlpConfig, KvCache,
    LayerNormConfig, LinearConfig, LoraAdapterConfig, PatchEmbeddingConfig, Positions, RmsNormConfig, RotaryConfig,
};

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn tensor(points: &[f32], dtype: DType) -> Tensor<1> {
    Tensor::from_data(TensorData::new(points.to_vec(), [points.len()]), (&device(), dtype))
}

/// Runs `module` in half precision, and in f32 with the same rounded parameters and input.
#[track_caller]
fn check<M: Module, const D: usize, const E: usize>(
    what: &str,
    module: &M,
    input: Tensor<D>,
    run: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) {
    for dtype in HALVES {
        let ours = cast(module.clone(), dtype);
        let input = input.clone().cast(dtype);
        let single = run(&cast(ours.clone(), DType::F32), input.clone().cast(DType::F32));
        assert_eq!(single.dtype(), DType::F32, "{what}");
        compare(what, run(&ours, input), single, dtype, 0);
    }
}

#[test]
fn every_layer_keeps_the_type_of_its_weights() {
    for device in [device(), device().autodiff()] {
        let x = random([2, 5, 8], &device);
        let mut linear = LinearConfig::new(8, 6).init(&device).with_lora(&LoraAdapterConfig::new(2, 4.0));
        linear.lora.as_mut().unwrap().b = Param::from_tensor(random([6, 2], &device));
        check("linear layer with an adapter", &linear, x.clone(), |linear, x| linear.forward(x));
        let mlp = GatedMlpConfig::new(8, 16).init(&device);
        check("gated block", &mlp, x.clone(), |mlp, x| mlp.forward(x));
        let layer = EncoderLayerConfig::new(8, 16, 2, Activation::Gelu).init(&device);
        check("encoder layer", &layer, x.clone(), |layer, x| layer.forward(x));
        for offset in [false, true] {
            let mut norm = RmsNormConfig::new(8).with_unit_offset(offset).init(&device);
            norm.weight = Param::from_tensor(random([8], &device));
            check("root-mean-square norm", &norm, x.clone(), |norm, x| norm.forward(x));
        }
        let mut norm = LayerNormConfig::new(8).init(&device);
        norm.weight = Param::from_tensor(random([8], &device));
        check("layer norm", &norm, x, |norm, x| norm.forward(x));
        let table = Embedding::new(9, 8, &device);
        let ids = Tensor::<2, Int>::from_data([[8, 0, 3]], &device);
        check("embedding", &table, random([1, 8], &device), |table, _| table.forward(ids.clone()));
        check("tied head", &table, random([3, 8], &device), |table, x| table.logits(x));
    }
}

#[test]
fn pixels_may_be_f32_whatever_the_weights_are() {
    let device = device();
    let embedding = PatchEmbeddingConfig::new(3, 5).init(&device);
    let pixels = random([2, 3, 6, 9], &device);
    for dtype in HALVES {
        let ours = cast(embedding.clone(), dtype).forward(pixels.clone());
        let of_rounded = cast(embedding.clone(), dtype).forward(pixels.clone().cast(dtype));
        assert_eq!(values(ours.clone()), values(of_rounded));
        compare("patches", ours, embedding.forward(pixels.clone()), dtype, 0);
    }
}

#[test]
fn attention_with_rotation_mask_and_cache_keeps_the_type() {
    for device in [device(), device().autodiff()] {
        let norm = Some(RmsNormConfig::new(4));
        let attention = CausalAttentionConfig::new(8, 4, 2, 4).with_qk_norm(norm).init(&device);
        let rotary = RotaryConfig::new(4).init();
        let x = random([2, 6, 8], &device);
        for in_its_type in [true, false] {
            let run = |attention: &safevlm_nn::CausalAttention, x: Tensor<3>, cache: Option<&mut KvCache>, range| {
                let std::ops::Range { start, end } = range;
                let x: Tensor<3> = x.narrow(1, start, end - start);
                let table = rotary.table(&Positions::sequential(2, start, end - start), &device);
                let table = if in_its_type { table.cast(x.dtype()) } else { table };
                let mask = AttentionMask::causal(2, end - start, start, None, &device);
                attention.forward(x, &table, &mask, cache.map(|cache| (cache, 0)))
            };
            check("attention", &attention, x.clone(), |attention, x| run(attention, x, None, 0..6));
            check("attention with a cache", &attention, x.clone(), |attention, x| {
                let mut cache = KvCache::new(1, 2, 2, 6, 4, &device);
                let first = run(attention, x.clone(), Some(&mut cache), 0..4);
                cache.advance(4);
                Tensor::cat(vec![first, run(attention, x, Some(&mut cache), 4..6)], 1)
            });
        }
    }
}

#[test]
fn attention_in_tiles_keeps_the_type() {
    // More than 256 k scores: `flex` computes them in tiles.
    let layer = EncoderLayerConfig::new(8, 8, 1, Activation::QuickGelu).init(&device());
    check("encoder layer of 577 tokens", &layer, random([1, 577, 8], &device()), |layer, x| layer.forward(x));
}

#[test]
fn norms_take_squares_in_f32() {
    // In f16 the square of 300 is infinite; in bf16 the mean of these squares would be rounded to 90112.
    let points = [300.0f32, -300.0, 302.0, 298.0];
    for dtype in HALVES {
        let norm = cast(RmsNormConfig::new(4).init(&device()), dtype);
        let rms = (points.iter().map(|x| x * x).sum::<f32>() / 4.0).sqrt();
        let expected = points.map(|x| rounded(x / rms, dtype));
        assert_eq!(values(norm.forward(tensor(&points, dtype))), expected);
        let norm = cast(LayerNormConfig::new(4).init(&device()), dtype);
        assert!(values(norm.forward(tensor(&points, dtype))).iter().all(|x| x.is_finite()));
    }
}

#[test]
fn llamas_norm_rounds_before_its_weight_and_gemmas_behind() {
    let (points, weights) = ([1.0f32, 2.5, -0.75, 3.0], [0.3f32, -1.7, 0.9, 1.1]);
    let dtype = DType::BF16;
    let weights = weights.map(|weight| rounded(weight, dtype));
    let rms = (points.iter().map(|x| x * x).sum::<f32>() / 4.0 + 1e-5).sqrt();
    let pairs = || points.iter().zip(&weights);
    let llamas: Vec<f32> = pairs().map(|(x, w)| rounded(rounded(x / rms, dtype) * w, dtype)).collect();
    let gemmas: Vec<f32> = pairs().map(|(x, w)| rounded(x / rms * (1.0 + w), dtype)).collect();
    for (offset, expected) in [(false, llamas), (true, gemmas)] {
        let mut norm = RmsNormConfig::new(4).with_unit_offset(offset).init(&device());
        norm.weight = Param::from_tensor(tensor(&weights, dtype));
        assert_eq!(values(norm.forward(tensor(&points, dtype))), expected, "offset: {offset}");
    }
}

#[test]
fn activations_are_rounded_once() {
    // At -3.5 the sum `1 + erf(x)` would have lost every digit in bf16.
    let points: Vec<f32> = (-40..=40).map(|n| n as f32 / 8.0).collect();
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu] {
        for dtype in HALVES {
            let exact = values(activation.forward(tensor(&points, DType::F32)));
            let expected: Vec<f32> = exact.into_iter().map(|y| rounded(y, dtype)).collect();
            assert_eq!(values(activation.forward(tensor(&points, dtype))), expected, "{activation:?} in {dtype:?}");
        }
    }
}

#[test]
fn a_rotary_table_in_f32_rounds_once() {
    let table = RotaryConfig::new(8).init().table(&Positions::sequential(1, 1000, 3), &device());
    let x = random([1, 2, 3, 8], &device());
    for dtype in HALVES {
        let x = x.clone().cast(dtype);
        let once = table.rotate(x.clone());
        assert_eq!(once.dtype(), dtype);
        let exact = values(table.rotate(x.clone().cast(DType::F32)));
        for (once, exact) in values(once).into_iter().zip(exact) {
            // The last bit of f32 besides: the two ways there add in different orders.
            let most = f64::from(exact.abs()) * epsilon(dtype) / 2.0 + 1e-6;
            assert!(f64::from((once - exact).abs()) <= most, "{once} is not {exact} in {dtype:?}");
        }
        compare("rotation in the type", table.clone().cast(dtype).rotate(x.clone()), table.rotate(x), dtype, 0);
    }
}

#[test]
fn the_cache_has_the_type_of_what_is_written_first() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let mut cache = KvCache::new(1, 1, 2, 4, 3, &device());
        let new = random([1, 2, 1, 3], &device()).cast(dtype);
        for length in 1..=4 {
            let (keys, vals) = cache.append(0, new.clone(), new.clone().neg());
            cache.advance(1);
            assert_eq!((keys.dtype(), vals.dtype(), keys.dims()), (dtype, dtype, [1, 2, length, 3]));
            assert_eq!(values(keys.narrow(2, length - 1, 1)), values(new.clone()));
        }
    }
}

#[test]
fn a_fresh_adapter_has_the_type_of_its_layer() {
    for dtype in HALVES {
        let layer = cast(LinearConfig::new(3, 2).init(&device()), dtype).with_lora(&LoraAdapterConfig::new(2, 2.0));
        let lora = layer.lora.as_ref().unwrap();
        assert_eq!((lora.a.val().dtype(), lora.b.val().dtype()), (dtype, dtype));
        assert_eq!(layer.forward(random([1, 2, 3], &device()).cast(dtype)).dtype(), dtype);
    }
}

#[test]
fn scalars_and_tensors_are_rounded_alike() {
    let root = 1152f32.sqrt();
    assert_eq!((rounded(root, DType::BF16), rounded(root, DType::F16)), (34.0, 33.9375));
    assert_eq!(rounded(root, DType::F32), root);
    for dtype in HALVES {
        assert_eq!(values(tensor(&[root], dtype)), [rounded(root, dtype)]);
        assert_eq!(rounded(1.0 + epsilon(dtype) as f32, dtype), 1.0 + epsilon(dtype) as f32);
        assert_eq!(rounded(1.0 + epsilon(dtype) as f32 * 0.49, dtype), 1.0);
        let inside = in_f32(tensor(&[root], dtype), |x| {
            assert_eq!(x.dtype(), DType::F32);
            x
        });
        assert_eq!(inside.dtype(), dtype);
    }
}
