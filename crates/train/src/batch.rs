//! Examples to tensors: token rows, the tokens to predict, and the classes.

use safevlm_core::RgbImage;
use safevlm_nn::{Padding, Sequences};

/// One question about one picture with its answer.
#[derive(Clone, Debug)]
pub struct Example {
    /// Token ids up to where the answer begins, visual tokens expanded.
    pub prompt: Vec<u32>,
    /// Token ids of the answer with its end-of-turn token; empty where only the guard is trained.
    pub answer: Vec<u32>,
    /// The picture's class; none where it has no label.
    pub label: Option<usize>,
    /// The picture.
    pub image: RgbImage,
}

/// Examples made ready for a forward pass.
#[derive(Debug)]
pub struct Batch {
    /// Prompts with answers, padded on the right.
    pub sequences: Sequences,
    /// Flat index (`row · tokens + token`) of each state that predicts an answer token.
    pub predicting: Vec<i32>,
    /// The token that each of them should predict.
    pub targets: Vec<i32>,
    /// Rows that have a class.
    pub labelled: Vec<i32>,
    /// Their classes.
    pub labels: Vec<i32>,
}

impl Batch {
    /// Puts `examples` into one batch; `pad` is an id that is never looked at.
    pub fn new(examples: &[Example], image_token: u32, pad: u32) -> Self {
        let rows: Vec<Vec<u32>> =
            examples.iter().map(|e| e.prompt.iter().chain(&e.answer).copied().collect()).collect();
        let sequences = Sequences::new(rows, Some(image_token), pad, Padding::Right);
        let tokens = sequences.tokens();
        let (mut predicting, mut targets, mut labelled, mut labels) = (vec![], vec![], vec![], vec![]);
        for (row, example) in examples.iter().enumerate() {
            for (nth, target) in example.answer.iter().enumerate() {
                // The state of the token before predicts it.
                predicting.push((row * tokens + example.prompt.len() + nth - 1) as i32);
                targets.push(*target as i32);
            }
            if let Some(label) = example.label {
                labelled.push(row as i32);
                labels.push(label as i32);
            }
        }
        Self { sequences, predicting, targets, labelled, labels }
    }
}
