//! What is learned from, before any tokenizer.

use std::sync::Arc;

use safevlm_core::{Conversation, Message, Part, RgbImage};
use safevlm_data::Combination;

use crate::error::TrainError;

/// Pictures, or none, with questions and answers about them.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// What it is called where it comes from, for messages.
    pub id: String,
    /// Its pictures, in the order in which messages show them.
    pub images: Vec<Arc<RgbImage>>,
    /// Questions with answers, none of which sees another.
    pub exchanges: Vec<Exchange>,
    /// The picture's class; none where it has no label, or there is not exactly one picture.
    pub label: Option<usize>,
    /// What the picture shows, in plain English, where that is known.
    pub subject: Option<String>,
}

impl Sample {
    /// Its pictures as the first question shows them, or with no word where there is none: what stands before the last
    /// picture's end is the same.
    pub fn shown(&self) -> Conversation {
        match self.exchanges.first() {
            Some(exchange) => exchange.conversation(&self.images),
            None => Conversation::new().user("", self.images.iter().cloned()),
        }
    }
}

/// A question, with whatever was said before it, and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What was said up to the question.
    pub messages: Vec<Message>,
    /// What the model should answer.
    pub answer: String,
    /// Which of the five combinations it is, where that is known.
    pub combination: Option<Combination>,
}

impl Exchange {
    /// One question about `images`, and its answer.
    pub fn new(question: &str, images: &[Arc<RgbImage>], answer: &str, combination: Option<Combination>) -> Self {
        let messages = Conversation::new().user(question, images.iter().cloned()).messages;
        Self { messages, answer: answer.to_owned(), combination }
    }

    /// The conversation up to the question, which may show the first of `images` only.
    pub fn conversation(&self, images: &[Arc<RgbImage>]) -> Conversation {
        let shown = self.messages.iter().flat_map(|message| &message.parts);
        let shown = shown.filter(|part| matches!(part, Part::Image(_))).count();
        Conversation { messages: self.messages.clone(), images: images[..shown.min(images.len())].to_vec() }
    }
}

/// Where samples come from. The same number always gives the same sample.
pub trait Source: Sync {
    /// How many there are; none where there is no end of them.
    fn count(&self) -> Option<usize>;

    /// The sample of that number, which is below [`count`](Self::count).
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn sample(&self, number: usize) -> Result<Sample, TrainError>;
}
