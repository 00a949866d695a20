//! The joint loss against a value computed by hand from the model's logits.

mod support;

use std::sync::Arc;

use burn::tensor::{Device, Distribution, Tensor};
use safevlm_core::RgbImage;
use safevlm_nn::{CausalLm, ImageTokens, Sequences};
use safevlm_safe_smol::SafeSmol;
use safevlm_train::{Batch, Example, Losses, Turn, joint_loss};
use support::{FEATURES, IMAGE, TOKENS, flex, model, values};

fn example(before: &[u32], after: &[u32], answer: &[u32], label: Option<usize>) -> Example {
    asked(before, &[(after, answer, 1.0)], label)
}

/// What an answer's first token counts beside the others.
const FIRST: f32 = 3.0;

/// One picture with several questions and answers, and what each counts.
fn asked(before: &[u32], turns: &[(&[u32], &[u32], f32)], label: Option<usize>) -> Example {
    let turn = |(question, answer, weight): &(&[u32], &[u32], f32)| Turn {
        question: question.to_vec(),
        answer: answer.to_vec(),
        weight: *weight,
        first_token: FIRST,
    };
    let turns = turns.iter().filter(|(_, answer, _)| !answer.is_empty()).map(turn).collect();
    Example { stem: [before, &[IMAGE; TOKENS]].concat(), turns, label, images: vec![Arc::new(RgbImage::new(1, 1))] }
}

/// Answers and prompts of different lengths, one picture without a label, one asked about twice.
fn examples() -> Vec<Example> {
    vec![
        example(&[1, 2], &[3, 4, 5], &[60, 61, 62], Some(16)),
        example(&[7], &[8], &[70], None),
        asked(&[], &[(&[9, 10], &[80, 81, 82, 83, 84], 1.0), (&[11], &[90, 91], 2.5)], Some(0)),
    ]
}

fn features(rows: usize, device: &Device) -> Tensor<3> {
    Tensor::random([rows, TOKENS, FEATURES], Distribution::Normal(0.0, 3.0), device)
}

fn losses(model: &SafeSmol, examples: &[Example], features: &Tensor<3>, device: &Device) -> Losses {
    let batch = Batch::new(examples, Some(IMAGE), 0);
    joint_loss(model, &batch, &batch.sequences, Some(ImageTokens::equal(features.clone())), device).unwrap()
}

/// `-ln softmax(logits)[target]`
fn surprise(logits: &[f32], target: usize) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
    let sum: f64 = logits.iter().map(|l| (f64::from(*l) - most).exp()).sum();
    sum.ln() + most - f64::from(logits[target])
}

fn scalar(loss: &Option<Tensor<1>>) -> f64 {
    f64::from(values(loss.clone().unwrap())[0])
}

#[test]
fn the_loss_equals_one_by_hand() {
    let device = flex();
    let model = model(2, &device);
    let (examples, features) = (examples(), features(3, &device));
    let (mut answers, mut classes) = (vec![], vec![]);
    for (nth, example) in examples.iter().enumerate() {
        let mut guard = None;
        for turn in &example.turns {
            // Each question alone and without padding.
            let row = [&example.stem[..], &turn.question, &turn.answer].concat();
            let sequences = Sequences::single(row, Some(IMAGE));
            let visual = model.project(ImageTokens::equal(features.clone().narrow(0, nth, 1)));
            let output = model.forward(&sequences, Some(visual), None, &device).unwrap();
            let [_, tokens, width] = output.hidden.dims();
            let logits = values(model.language_model.logits(output.hidden.reshape([tokens, width])));
            let logits: Vec<&[f32]> = logits.chunks(IMAGE as usize).collect();
            let first = example.stem.len() + turn.question.len() - 1;
            for (at, token) in turn.answer.iter().enumerate() {
                let weight = if at == 0 { turn.weight * FIRST } else { turn.weight };
                answers.push((surprise(logits[first + at], *token as usize), f64::from(weight)));
            }
            guard = output.guard;
        }
        if let (Some(label), Some(guard)) = (example.label, guard) {
            classes.push(surprise(&values(guard), label));
        }
    }
    assert_eq!((answers.len(), classes.len()), (11, 2));
    let weights: f64 = answers.iter().map(|(_, weight)| weight).sum();
    let language = answers.iter().map(|(surprise, weight)| surprise * weight).sum::<f64>() / weights;
    let guard = classes.iter().sum::<f64>() / classes.len() as f64;
    let losses = losses(&model, &examples, &features, &device);
    let close = |what: &str, ours: f64, by_hand: f64| {
        assert!((ours - by_hand).abs() < 1e-4, "{what}: {ours}, by hand {by_hand}");
    };
    close("language", scalar(&losses.language), language);
    close("guard", scalar(&losses.guard), guard);
    close("joint", scalar(&losses.joint(0.25)), language + 0.25 * guard);
    assert_eq!(losses.guard_logits.unwrap().dims(), [3, 20]);
}

#[test]
fn only_answer_tokens_are_predicted() {
    let device = flex();
    // Without decoder layers a state knows its own token only, so that the loss shows which are used.
    let (model, features) = (model(0, &device), features(3, &device));
    let loss = |examples: &[Example]| scalar(&losses(&model, examples, &features, &device).language);
    let usual = loss(&examples());
    let changed = |change: &dyn Fn(&mut Example)| {
        let mut examples = examples();
        change(&mut examples[0]);
        loss(&examples)
    };
    for place in [0, 1] {
        assert_eq!(changed(&|e| e.stem[place] = 200), usual, "stem token {place} is predicted or predicts");
        let place = &|e: &mut Example| e.turns[0].question[place] = 200;
        assert_eq!(changed(place), usual, "a question's token is predicted or predicts");
    }
    let last = changed(&|e| e.turns[0].question[2] = 200);
    assert_ne!(last, usual, "the last prompt token must predict the first of the answer");
    for place in 0..3 {
        assert_ne!(changed(&|e| e.turns[0].answer[place] = 200), usual, "answer token {place} is not predicted");
    }
    // The padding behind a shorter row neither predicts nor is predicted.
    let batch = |pad| {
        let batch = Batch::new(&examples(), Some(IMAGE), pad);
        joint_loss(&model, &batch, &batch.sequences, Some(ImageTokens::equal(features.clone())), &device).unwrap()
    };
    assert_eq!(scalar(&batch(0).language), scalar(&batch(123).language));
}

#[test]
fn losses_without_targets_are_none() {
    let device = flex();
    let (model, features) = (model(1, &device), features(1, &device));
    let of = |answer: &[u32], label| {
        let examples = [example(&[1], &[2], answer, label)];
        losses(&model, &examples, &features, &device)
    };
    let guard_only = of(&[], Some(3));
    assert!(guard_only.language.is_none());
    assert_eq!(scalar(&guard_only.joint(0.5)), 0.5 * scalar(&guard_only.guard));
    let answer_only = of(&[5, 6], None);
    assert!(answer_only.guard.is_none());
    assert_eq!(scalar(&answer_only.joint(0.5)), scalar(&answer_only.language));
    assert!(of(&[], None).joint(1.0).is_none());
}

#[test]
fn images_and_placeholders_must_be_equally_many() {
    let device = flex();
    let (model, features) = (model(1, &device), features(2, &device));
    let batch = Batch::new(&examples()[..1], Some(IMAGE), 0);
    let features = Some(ImageTokens::equal(features));
    let error = joint_loss(&model, &batch, &batch.sequences, features, &device).unwrap_err();
    assert!(error.to_string().contains("4 visual tokens but the images give 8"), "{error}");
}

#[test]
fn text_and_images_share_a_batch() {
    let device = flex();
    let (model, features) = (model(2, &device), features(3, &device));
    let all = examples();
    let of_text = |question: &[u32], answer: &[u32]| {
        let turn = Turn { question: question.to_vec(), answer: answer.to_vec(), weight: 1.0, first_token: 1.0 };
        Example { stem: vec![], turns: vec![turn], label: None, images: vec![] }
    };
    let text = of_text(&[5, 6, 7], &[9, 10]);
    let alone = Batch::new(std::slice::from_ref(&text), Some(IMAGE), 0);
    let alone = joint_loss(&model, &alone, &alone.sequences, None, &device).unwrap();
    assert!(alone.guard.is_none());
    // Between the pictures' rows, so that pictures are not counted by rows.
    let mixed = [&all[..1], &[text], &all[1..]].concat();
    let (with, without) = (losses(&model, &mixed, &features, &device), losses(&model, &all, &features, &device));
    assert!((scalar(&with.guard) - scalar(&without.guard)).abs() < 1e-5);
    let weights = |examples: &[Example]| Batch::new(examples, Some(IMAGE), 0).weights.iter().sum::<f32>();
    let (text, pictures) = (2.0, f64::from(weights(&all)));
    let expected = (scalar(&alone.language) * text + scalar(&without.language) * pictures) / (text + pictures);
    assert!((scalar(&with.language) - expected).abs() < 1e-4, "{} {expected}", scalar(&with.language));
}
