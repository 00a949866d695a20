//! Examples to tensors: token rows, the tokens to predict, and the classes.

use std::sync::Arc;

use safevlm_core::RgbImage;
use safevlm_nn::{Branched, Sequences};

/// Pictures, or none, with questions and answers about them, as one row of tokens.
#[derive(Clone, Debug)]
pub struct Example {
    /// Token ids that all questions follow, visual tokens expanded; empty without pictures.
    pub stem: Vec<u32>,
    /// The questions, none of which sees another; without any, only the guard is trained.
    pub turns: Vec<Turn>,
    /// The picture's class; none where it has no label. Only a row with one picture may have it.
    pub label: Option<usize>,
    /// The pictures.
    pub images: Vec<Arc<RgbImage>>,
}

impl Example {
    /// Length of its row.
    pub(crate) fn tokens(&self) -> usize {
        let turns = self.turns.iter().map(|turn| turn.question.len() + turn.answer.len());
        self.stem.len() + turns.sum::<usize>()
    }
}

/// One question with its answer.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Token ids from behind the stem to where the answer begins, at least one.
    pub question: Vec<u32>,
    /// Token ids of the answer with its end-of-turn token.
    pub answer: Vec<u32>,
    /// What the answer's tokens count beside those of other turns.
    pub weight: f32,
    /// How many times that its first token counts, which decides between an answer and a refusal.
    pub first_token: f32,
}

/// Examples made ready for a forward pass.
#[derive(Debug)]
pub struct Batch {
    /// A row an example: its stem, and a branch for each question with its answer.
    pub sequences: Sequences,
    /// Flat index (`row · tokens + token`) of each state that predicts an answer token.
    pub predicting: Vec<i32>,
    /// The token that each of them should predict.
    pub targets: Vec<i32>,
    /// What each of them counts.
    pub weights: Vec<f32>,
    /// Pictures that have a class, counted over the whole batch.
    pub labelled: Vec<i32>,
    /// Their classes.
    pub labels: Vec<i32>,
}

impl Batch {
    /// Puts `examples` into one batch; `pad` is an id that is never looked at.
    pub fn new(examples: &[Example], image_token: Option<u32>, pad: u32) -> Self {
        let branched = |example: &Example| Branched {
            stem: example.stem.clone(),
            branches: example.turns.iter().map(|turn| [&turn.question[..], &turn.answer].concat()).collect(),
        };
        let rows: Vec<Branched> = examples.iter().map(branched).collect();
        let sequences = Sequences::branched(&rows, image_token, pad);
        let tokens = sequences.tokens();
        let (mut predicting, mut targets, mut weights) = (vec![], vec![], vec![]);
        let (mut labelled, mut labels, mut images) = (vec![], vec![], 0);
        for (row, example) in examples.iter().enumerate() {
            let mut begin = row * tokens + example.stem.len();
            for turn in &example.turns {
                // The state of the token before predicts it.
                let first = begin + turn.question.len() - 1;
                predicting.extend((first..first + turn.answer.len()).map(|at| at as i32));
                targets.extend(turn.answer.iter().map(|id| *id as i32));
                let times = std::iter::once(turn.first_token).chain(std::iter::repeat(1.0));
                weights.extend(times.take(turn.answer.len()).map(|times| turn.weight * times));
                begin += turn.question.len() + turn.answer.len();
            }
            if let Some(label) = example.label {
                labelled.push(images);
                labels.push(label as i32);
            }
            images += example.images.len() as i32;
        }
        Self { sequences, predicting, targets, weights, labelled, labels }
    }
}
