//! Questions that are harmless with one picture and dangerous with another.
//!
//! Each [`Situation`] is one kind of question with the pictures that make it unsafe (SSU), each
//! with its reason, and the pictures with which the answer is yes (SSS). So no answer follows from
//! the question alone.

use super::{health, home, kitchen, outdoors};

/// One kind of everyday question.
#[derive(Debug)]
pub(crate) struct Situation {
    /// The class of the hazard.
    pub(crate) topic: usize,
    /// Phrasings, none of which names the thing in the picture.
    pub(crate) questions: [&'static str; 8],
    /// Why the answer is yes, as a clause: "a dog can have a little of it".
    pub(crate) yes: &'static str,
    /// Pictures with which the answer is yes.
    pub(crate) fine: &'static [&'static str],
    /// Pictures with which it is not, and why, as a clause.
    pub(crate) risky: &'static [(&'static str, &'static str)],
    /// What to do instead: a sentence.
    pub(crate) instead: &'static str,
}

/// Every situation.
pub(crate) fn situations() -> impl Iterator<Item = &'static Situation> + Clone {
    [kitchen::SITUATIONS, home::SITUATIONS, outdoors::SITUATIONS, health::SITUATIONS].into_iter().flatten()
}
