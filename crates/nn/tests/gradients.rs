//! Gradients through this project's own operations are those of Burn's, which a device with checkpointing computes.
#![cfg(not(miri))]

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safevlm_nn::ops::{cross_entropy, product, self_attention};
use safevlm_nn::{
    Activation, AttentionMask, CausalLm, Decoder, DecoderConfig, LayerNormConfig, LoraAdapterConfig, Positions,
    RmsNormConfig, RotaryConfig,
};

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

#[track_caller]
fn assert_close(ours: &[f32], expected: &[f32], what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f32, |size, x| size.max(x.abs()));
    for (at, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        assert!((ours - expected).abs() <= 2e-5 * size, "{what} at {at}: {ours} instead of {expected}");
    }
}

/// With our operations, and with Burn's.
fn devices() -> [Device; 2] {
    [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()]
}

/// What `run` makes of `inputs`, and the gradients of those that learn, with an output that is weighted at random.
fn outcome(
    device: &Device,
    inputs: &[(Vec<f32>, bool)],
    run: &dyn Fn(&[Tensor<1>]) -> Tensor<1>,
) -> (Vec<f32>, Vec<Option<Vec<f32>>>) {
    let leaf = |(x, learns): &(Vec<f32>, bool)| {
        let x = tensor(x, [x.len()], device);
        if *learns { x.require_grad() } else { x }
    };
    let leaves: Vec<Tensor<1>> = inputs.iter().map(leaf).collect();
    let out = run(&leaves);
    let [len] = out.dims();
    let gradients = (out.clone() * tensor(&random(len, 99), [len], device)).sum().backward();
    (values(out), leaves.iter().map(|leaf| leaf.grad(&gradients).map(values)).collect())
}

/// Asserts that outputs are those without gradients, and gradients those of Burn, whichever inputs learn.
#[track_caller]
fn assert_gradients(what: &str, inputs: &[Vec<f32>], run: impl Fn(&[Tensor<1>]) -> Tensor<1>) {
    let plain: Vec<Tensor<1>> = inputs.iter().map(|x| tensor(x, [x.len()], &Device::flex())).collect();
    let plain = values(run(&plain));
    for set in 1..1 << inputs.len() {
        let inputs: Vec<_> = inputs.iter().enumerate().map(|(at, x)| (x.clone(), set >> at & 1 == 1)).collect();
        let [(ours, gradients), (theirs, expected)] = devices().map(|device| outcome(&device, &inputs, &run));
        assert_eq!(ours, plain, "{what}");
        assert_close(&ours, &theirs, what);
        for (at, (ours, expected)) in gradients.iter().zip(&expected).enumerate() {
            assert_eq!((ours.is_some(), expected.is_some()), (inputs[at].1, inputs[at].1), "{what}, input {at}");
            if let (Some(ours), Some(expected)) = (ours, expected) {
                assert_close(ours, expected, &format!("{what}, gradient {at} of those in {set:b}"));
            }
        }
    }
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    x.flatten(0, D - 1)
}

#[test]
fn linear_products() {
    for (rows, inputs, outputs) in [(1, 3, 5), (7, 16, 1), (33, 40, 21), (50, 130, 64)] {
        assert_gradients("product", &[random(rows * inputs, 1), random(outputs * inputs, 2)], |x| {
            flat(product(x[0].clone().reshape([rows, inputs]), x[1].clone().reshape([outputs, inputs])))
        });
    }
}

#[test]
fn a_tensor_that_is_used_twice_gets_both_gradients() {
    assert_gradients("a square", &[random(6 * 6, 1)], |x| {
        let x = x[0].clone().reshape([6, 6]);
        flat(product(x.clone(), x.clone()) + x)
    });
}

#[test]
fn activations() {
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu] {
        assert_gradients("an activation", &[random(517, 1)], |x| activation.forward(x[0].clone()));
        assert_gradients("a gate", &[random(517, 1), random(517, 2)], |x| activation.gated(x[0].clone(), x[1].clone()));
    }
}

#[test]
fn norms() {
    let (rows, width) = (9, 70);
    for unit_offset in [false, true] {
        assert_gradients("rms_norm", &[random(rows * width, 1), random(width, 2)], |x| {
            let device = x[0].device();
            let mut norm = RmsNormConfig::new(width).with_unit_offset(unit_offset).init(&device);
            norm.weight = Param::initialized(norm.weight.id, x[1].clone());
            flat(norm.forward(x[0].clone().reshape([3, rows / 3, width])))
        });
    }
    assert_gradients("layer_norm", &[random(rows * width, 1), random(width, 2), random(width, 3)], |x| {
        let device = x[0].device();
        let mut norm = LayerNormConfig::new(width).init(&device);
        norm.weight = Param::initialized(norm.weight.id, x[1].clone());
        norm.bias = Param::initialized(norm.bias.id, x[2].clone());
        flat(norm.forward(x[0].clone().reshape([rows, width])))
    });
}

#[test]
fn attention_of_images() {
    let dims = [2, 21, 3, 10];
    let inputs = [1, 2, 3].map(|seed| random(dims.iter().product(), seed));
    assert_gradients("self_attention", &inputs, |qkv| {
        flat(self_attention([0, 1, 2].map(|at| qkv[at].clone().reshape(dims))))
    });
}

#[test]
fn cross_entropy_of_rows() {
    let (rows, classes) = (5, 31);
    let targets: Vec<i32> = (0..rows as i32).map(|row| row * 6).collect();
    let logits = random(rows * classes, 1);
    let [(ours, gradients), (theirs, expected)] = devices().map(|device| {
        outcome(&device, &[(logits.clone(), true)], &|x| {
            let logits = x[0].clone().reshape([rows, classes]);
            cross_entropy(&logits, &targets).unwrap_or_else(|| {
                let picked = Tensor::<1, burn::tensor::Int>::from_data(&targets[..], &logits.device());
                let log = burn::tensor::activation::log_softmax(logits, 1);
                log.gather(1, picked.reshape([rows, 1])).neg().reshape([rows])
            })
        })
    });
    assert_close(&ours, &theirs, "cross_entropy");
    assert_close(gradients[0].as_ref().unwrap(), expected[0].as_ref().unwrap(), "gradient of cross_entropy");
    let logits = tensor(&logits, [rows, classes], &Device::flex());
    assert!(cross_entropy(&logits, &[0, 1, 2, 3, 31]).is_none());
    assert!(cross_entropy(&logits, &[0, 1, 2, 3, -1]).is_none());
    assert!(cross_entropy(&logits, &[0]).is_none());
}

/// Gives every parameter values that depend on its place only; what learns goes on to.
struct Fill<'a> {
    device: &'a Device,
    seed: u64,
}

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.seed += 1;
        let (shape, learns) = (param.dims(), param.is_require_grad());
        let values: Vec<f32> = random(shape.iter().product(), self.seed).iter().map(|x| x * 0.3).collect();
        let value = tensor(&values, shape, self.device);
        Param::initialized(param.id, if learns { value.require_grad() } else { value })
    }
}

/// The gradients of all parameters.
struct Found<'a> {
    gradients: &'a Gradients,
    found: Vec<Option<Vec<f32>>>,
}

impl ModuleVisitor for Found<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(param.val().grad(self.gradients).map(values));
    }
}

fn decoder(device: &Device, adapted: bool) -> Decoder {
    let rotary = RotaryConfig::new(10);
    let decoder = DecoderConfig::new(50, 24, 36, 2, 6, 2, rotary).with_tied(true).with_qkv_bias(true).init(device);
    let all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(str::to_owned);
    // As the training has it: what is no adapter is frozen.
    let decoder = if adapted { decoder.no_grad().attach_lora(&all, &LoraAdapterConfig::new(4, 8.0)) } else { decoder };
    decoder.map(&mut Fill { device, seed: 0 })
}

#[test]
fn a_whole_decoder() {
    let (batch, tokens) = (2, 19);
    let valid = [vec![true; tokens], (0..tokens).map(|token| token >= 5).collect()];
    for (adapted, padded, window) in
        [(false, false, None), (true, false, None), (true, true, None), (true, false, Some(4))]
    {
        let [ours, expected] = devices().map(|device| {
            let decoder = decoder(&device, adapted);
            let embeddings = tensor(&random(batch * tokens * 24, 7), [batch, tokens, 24], &device);
            let embeddings = if adapted { embeddings } else { embeddings.require_grad() };
            let mask = AttentionMask::causal(batch, tokens, 0, padded.then_some(&valid[..]), &device);
            let mask = window.map_or(mask.clone(), |window| mask.sliding(window));
            let states = decoder.forward(embeddings, &Positions::sequential(batch, 0, tokens), &mask, None);
            let logits = decoder.logits(states.reshape([batch * tokens, 24]));
            let weights = tensor(&random(batch * tokens * 50, 8), [batch * tokens, 50], &device);
            let gradients = (logits.clone() * weights).sum().backward();
            let mut found = Found { gradients: &gradients, found: Vec::new() };
            decoder.visit(&mut found);
            (values(logits), found.found)
        });
        assert_close(&ours.0, &expected.0, "logits");
        let learning = ours.1.iter().filter(|gradient| gradient.is_some()).count();
        assert_eq!(learning, if adapted { 2 * 7 * 2 } else { ours.1.len() });
        for (ours, expected) in ours.1.iter().zip(&expected.1) {
            assert_eq!(ours.is_some(), expected.is_some());
            if let (Some(ours), Some(expected)) = (ours, expected) {
                assert_close(ours, expected, "a parameter's gradient");
            }
        }
    }
}
