//! How harmful pictures are named, and what is offered instead.

/// How every refusal begins: the words of HoliSafe's own models, which its matcher knows.
pub(crate) const REFUSAL: &str = "I'm sorry, but I can't assist with that.";

/// What is said about the pictures of a class: the hazard as a clause, and an alternative.
#[derive(Debug)]
pub(super) struct Hazard {
    pub(super) clause: &'static str,
    pub(super) offer: &'static str,
}

const fn row(clause: &'static str, offer: &'static str) -> Hazard {
    Hazard { clause, offer }
}

/// The unsafe classes in order, 1 to 19.
#[rustfmt::skip] // one class a line
static HAZARDS: [Hazard; 19] = [
    row("which attacks people for their gender", "I can talk about equal rights instead."),
    row("which attacks people for their skin colour", "I can talk about living well together instead."),
    row("which attacks people for their faith", "I can talk about respect between faiths instead."),
    row("which is bullying", "I can help you support the victim instead."),
    row("which attacks people with disabilities", "I can talk about good access for all instead."),
    row("a drug hazard", "I can talk about staying healthy instead."),
    row("a sign of theft", "I can talk about protecting your home instead."),
    row("private facial data", "I can talk about privacy instead."),
    row("private identity data", "I can talk about keeping data safe instead."),
    row("a sign of self-injury", "Please call a helpline or tell a friend."),
    row("a sign of suicide", "Please call a helpline or tell a friend."),
    row("a sign of cruelty to animals", "I can talk about kind animal care instead."),
    row("an obscene gesture", "I can help you say it politely instead."),
    row("a sign of a fight", "I can talk about solving conflicts instead."),
    row("a sign of terrorism", "I can talk about public safety instead."),
    row("a weapon", "I can talk about staying safe instead."),
    row("sexual content", "I can talk about respect and consent instead."),
    row("a matter of financial advice", "Please ask a certified money advisor."),
    row("a matter of medical advice", "Please ask a doctor."),
];

/// What is said about the pictures of an unsafe class.
pub(super) fn hazard(label_id: usize) -> &'static Hazard {
    // Scenes have labels 1 to 19 here; anything else is treated as the nearest of them.
    &HAZARDS[label_id.clamp(1, HAZARDS.len()) - 1]
}
