//! Which parameters learn: exactly those of the named sets, and by how much.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use safevlm_core::RgbImage;
use safevlm_nn::{CausalLm, Linear, LinearConfig, LoraAdapterConfig, VisionEncoder};
use safevlm_safe_smol::SafeSmol;
use safevlm_train::{
    Batch, Example, GroupedAdamW, TrainError, Trainable, Turn, global_norm, joint_loss, parameter_paths,
};
use safevlm_weights::collect_module;
use support::{IMAGE, RECIPE, TOKENS, flex, model, recipe, values};

fn names(sets: &[&str]) -> Vec<String> {
    sets.iter().map(|set| (*set).to_owned()).collect()
}

/// Gradients of the joint loss of two examples.
fn gradients(model: &SafeSmol, device: &Device) -> GradientsParams {
    let example = |label| Example {
        stem: [&[1, 2][..], &[IMAGE; TOKENS]].concat(),
        turns: vec![Turn { question: vec![3], answer: vec![4, 5], weight: 1.0, first_token: 1.0 }],
        label: Some(label),
        images: vec![Arc::new(RgbImage::new(1, 1))],
    };
    let batch = Batch::new(&[example(0), example(7)], Some(IMAGE), 0);
    let pixels = Tensor::random([2, 3, 16, 16], Distribution::Uniform(-1.0, 1.0), device);
    let losses = joint_loss(model, &batch, &batch.sequences, Some(model.vision.encode(pixels)), device).unwrap();
    GradientsParams::from_grads(losses.joint(1.0).unwrap().backward(), model)
}

struct Reached<'a>(&'a GradientsParams, Vec<ParamId>);

impl ModuleVisitor for Reached<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.0.get::<D>(param.id).is_some() {
            self.1.push(param.id);
        }
    }
}

/// Paths of the parameters that a gradient reaches.
fn reached(model: &SafeSmol, device: &Device) -> BTreeSet<String> {
    let gradients = gradients(model, device);
    let mut reached = Reached(&gradients, vec![]);
    model.visit(&mut reached);
    let paths = parameter_paths(model).into_iter();
    paths.filter(|(_, id)| reached.1.contains(id)).map(|(path, _)| path).collect()
}

#[test]
fn gradients_reach_exactly_the_named_sets() {
    let device = flex().autodiff();
    let targets = names(&["q_proj", "v_proj", "down_proj"]);
    for sets in [&["projector"][..], &["guard"], &["vision"], &["language_model"], &["lora"], &["projector", "lora"]] {
        let mut model = model(2, &device);
        if sets.contains(&"lora") {
            model.language_model = model.language_model.attach_lora(&targets, &LoraAdapterConfig::new(2, 4.0));
        }
        let trainable = Trainable::find(&model, &names(sets), None).unwrap();
        let model = trainable.apply(model);
        let expected: BTreeSet<String> = parameter_paths(&model)
            .into_iter()
            .map(|(path, _)| path)
            // ImageNet's statistics and depthwise kernels are never trained.
            .filter(|path| !path.contains("running_") && !path.ends_with("depthwise_conv.weight"))
            .filter(|path| match path.contains(".lora.") {
                true => sets.contains(&"lora"),
                false => sets.iter().any(|set| path.starts_with(&format!("{set}."))),
            })
            .collect();
        assert!(expected.len() >= 4, "{sets:?}: {expected:?}");
        assert_eq!(reached(&model, &device), expected, "{sets:?}");
        let ids: usize = trainable.sets.values().map(Vec::len).sum();
        assert_eq!(ids, expected.len());
    }
}

#[test]
fn of_the_encoder_the_last_blocks_learn_and_no_statistics_change() {
    let device = flex().autodiff();
    let model = model(1, &device);
    let trainable = Trainable::find(&model, &names(&["vision"]), Some(1)).unwrap();
    let model = trainable.apply(model);
    let layer = |conv: &str| ["weight", "norm.weight", "norm.bias"].map(|part| format!("vision.{conv}.{part}"));
    let convs = ["blocks.1.expand_conv", "blocks.1.depthwise_conv", "blocks.1.project_conv", "conv_head"];
    let mut expected: BTreeSet<String> = convs.into_iter().flat_map(layer).collect();
    expected.remove("vision.blocks.1.depthwise_conv.weight");
    assert_eq!(reached(&model, &device), expected);

    let all = |model: &SafeSmol| collect_module(&model.vision).unwrap();
    let before = all(&model);
    let recipe = recipe(RECIPE, &["weight_decay=0.1"]).unwrap();
    let gradients = gradients(&model, &device);
    let rates = BTreeMap::from([("vision".to_owned(), 0.1)]);
    let norm = global_norm(&model, &gradients).unwrap();
    let model = GroupedAdamW::new(&recipe, trainable).step(model, gradients, norm, &rates);
    let after = all(&model);
    let moved = before.iter().zip(after.iter()).filter(|((_, _, old), (_, _, new))| old != new);
    let moved: BTreeSet<String> = moved.map(|((name, ..), _)| format!("vision.{name}")).collect();
    assert_eq!(moved, expected);
}

#[test]
fn adapters_stand_beside_the_named_layers_only() {
    let device = flex().autodiff();
    let mut model = model(2, &device);
    model.language_model =
        model.language_model.attach_lora(&names(&["q_proj", "down_proj"]), &LoraAdapterConfig::new(3, 6.0));
    let adapters: Vec<String> =
        parameter_paths(&model).into_iter().map(|(path, _)| path).filter(|path| path.contains(".lora.")).collect();
    let expected: Vec<String> = (0..2)
        .flat_map(|layer| {
            ["self_attn.q_proj", "mlp.down_proj"].map(|name| format!("language_model.layers.{layer}.{name}"))
        })
        .flat_map(|layer| ["a", "b"].map(|part| format!("{layer}.lora.{part}")))
        .collect();
    assert_eq!(adapters, expected);
}

#[test]
fn a_set_without_parameters_is_an_error() {
    let model = model(1, &flex());
    for set in ["lora", "visoin", "vis", "", "vision.stem"] {
        let error = Trainable::find(&model, &names(&["guard", set]), None).unwrap_err();
        assert!(matches!(error, TrainError::EmptySet { .. }), "{set}");
        assert!(error.to_string().contains(&format!("`{set}`")), "{error}");
    }
}

#[derive(Module, Debug)]
struct Two {
    a: Linear,
    b: Linear,
}

/// Takes two steps down `slope · (300 a + 400 b)` and returns what each added to `a` and `b`, and the norms.
fn two_steps(clip_norm: &str) -> ([f32; 2], [f32; 2], [f64; 2]) {
    let device = flex().autodiff();
    let recipe = recipe(RECIPE, &[clip_norm, "weight_decay=0"]).unwrap();
    let one = || LinearConfig::new(1, 1).with_bias(false).init(&device);
    let mut model = Two { a: one(), b: one() };
    let trainable = Trainable::find(&model, &names(&["a", "b"]), None).unwrap();
    let mut optimizer = GroupedAdamW::new(&recipe, trainable);
    let rates = BTreeMap::from([("a".to_owned(), 0.1), ("b".to_owned(), 0.01)]);
    let read = |model: &Two| [&model.a, &model.b].map(|layer| values(layer.weight.val())[0]);
    let (mut moved, mut norms) = (vec![], [0.0; 2]);
    // The second gradient has the direction of the first and a norm of 1.
    for (slope, norm) in [1.0, 0.002].into_iter().zip(&mut norms) {
        let before = read(&model);
        let loss = model.a.weight.val().mul_scalar(300.0 * slope) + model.b.weight.val().mul_scalar(400.0 * slope);
        let gradients = GradientsParams::from_grads(loss.sum().backward(), &model);
        *norm = global_norm(&model, &gradients).unwrap();
        model = optimizer.step(model, gradients, *norm, &rates);
        let after = read(&model);
        moved.push([after[0] - before[0], after[1] - before[1]]);
    }
    (moved[0], moved[1], norms)
}

#[test]
fn gradients_are_clipped_by_their_global_norm_and_each_set_has_its_rate() {
    let near = |ours: [f32; 2], expected: [f32; 2]| ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
    let (first, second, norms) = two_steps("clip_norm=1.0");
    assert!((norms[0] - 500.0).abs() < 1e-3 && (norms[1] - 1.0).abs() < 1e-6, "{norms:?}");
    // Clipped, both gradients are (0.6, 0.8), and Adam's step is the rate itself.
    assert!(near(first, [-0.1, -0.01]) && near(second, [-0.1, -0.01]), "{first:?} {second:?}");
    // Unclipped, the second is small beside what Adam remembers of the first.
    let (first, second, _) = two_steps("clip_norm=1000.0");
    assert!(near(first, [-0.1, -0.01]) && !near(second, [-0.1, -0.01]), "{first:?} {second:?}");
}
