//! What the types of a recipe cannot say.

use safevlm_weights::FloatDtype;

use super::{DataKind, Recipe, Stage, Validation};
use crate::augment::Augment;

impl Recipe {
    /// The first thing that is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let positive = |name: &str, ok: bool| if ok { Ok(()) } else { Err(format!("{name} must be above 0")) };
        let at_most = |name: &str, value: usize, most: usize| match value <= most {
            true => Ok(()),
            false => Err(format!("{name} must be {most} at most")),
        };
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("{name} must be from 0 to 1")),
        };
        let dropped = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("{name} must be 0 or more, and below 1")),
        };
        share("warmup", self.warmup)?;
        share("final_rate", self.final_rate)?;
        share("weight_decay", f64::from(self.weight_decay))?;
        if !(self.safety_loss_lambda >= 0.0 && self.safety_loss_lambda.is_finite()) {
            return Err("safety_loss_lambda must be 0 or more".to_owned());
        }
        positive("clip_norm", self.clip_norm > 0.0)?;
        positive("checkpoint_every", self.checkpoint_every > 0)?;
        if self.learning_rate.contains_key("lora") != self.lora.is_some() {
            return Err("learning_rate.lora and [lora] go together: give both or neither".to_owned());
        }
        if self.precision == FloatDtype::F16 {
            return Err("gradients overflow f16: compute in bf16, or in f32".to_owned());
        }
        if let Some(lora) = &self.lora {
            positive("lora.rank", lora.rank > 0)?;
            at_most("lora.rank", lora.rank, 1 << 16)?;
            positive("lora.alpha", lora.alpha > 0.0 && lora.alpha.is_finite())?;
            dropped("lora.dropout", lora.dropout)?;
        }
        dropped("guard.dropout", self.guard.as_ref().map_or(0.0, |guard| guard.dropout))?;
        positive("max_tokens", self.max_tokens != Some(0))?;
        let of_validation = self.validation.iter().flat_map(|validation| &validation.data);
        for data in self.data.iter().chain(of_validation) {
            positive("data.weight", data.weight.is_none_or(|weight| weight > 0.0 && weight.is_finite()))?;
            if (data.kind == DataKind::Symbolic) == data.path.is_some() {
                return Err("data.path names the file of rows, and symbolic scenes have none".to_owned());
            }
        }
        if let Some(Validation { every, samples, patience, data }) = &self.validation {
            positive("validation.every", *every > 0)?;
            positive("validation.samples", *samples > 0)?;
            at_most("validation.samples", *samples, 1 << 30)?;
            positive("validation.patience", *patience != Some(0))?;
            positive("the number of validation.data", !data.is_empty())?;
        }
        if let Some(card) = &self.card {
            if card.bench.is_some() == card.scenes.is_some() || (card.scenes.is_some() && card.validation.is_some()) {
                return Err(
                    "a card is measured on a bench, with or without a validation, or on scenes: give one of them"
                        .to_owned(),
                );
            }
            positive("card.scenes", card.scenes != Some(0))?;
            positive("card.max_new_tokens", card.max_new_tokens > 0)?;
        }
        if let Some(problem) = self.augment.as_ref().and_then(Augment::problem) {
            return Err(problem.to_owned());
        }
        for (set, rate) in &self.learning_rate {
            positive(&format!("learning_rate.{set}"), *rate > 0.0 && rate.is_finite())?;
        }
        let weights = self.phase.iter().flat_map(|phase| &phase.weight).chain(&self.weight);
        for (combination, weight) in weights {
            positive(&format!("weight.{}", combination.as_str()), *weight > 0.0 && weight.is_finite())?;
        }
        if self.vision_from.is_some() && !self.learning_rate.contains_key("vision") {
            return Err("vision_from says what of the encoder learns, which needs a learning_rate.vision".to_owned());
        }
        for (number, phase) in self.phase.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if phase.name.is_empty() || !phase.name.chars().all(plain) {
                return Err("phase.name becomes a folder: give letters, digits, - and _".to_owned());
            }
            if self.phase[..number].iter().any(|before| before.name == phase.name) {
                return Err(format!("two phases are called {}", phase.name));
            }
            positive("phase.batch", phase.batch > 0)?;
            at_most("phase.batch", phase.batch, 1 << 20)?;
            at_most("phase.steps", phase.steps, 1 << 40)?;
            at_most("phase.scenes", phase.scenes, 1 << 30)?;
            if (phase.steps > 0) == phase.epochs.is_some() {
                return Err("a phase has steps or epochs: give one of them".to_owned());
            }
            positive("phase.epochs", phase.epochs.is_none_or(|epochs| epochs > 0.0))?;
            at_most("phase.epochs", phase.epochs.map_or(0, |epochs| epochs as usize), 1 << 20)?;
            if phase.stage == Stage::Ground && phase.trains(self, "vision") && self.vision_from.is_none() {
                return Err(
                    "grounding trains an encoder from the block vision_from on: give it, or name the phase's sets \
                            without vision"
                        .to_owned(),
                );
            }
            if phase.stage == Stage::Ground && phase.trains(self, "guard") {
                return Err("grounding does not train the guard: name the phase's sets without it".to_owned());
            }
            positive("phase.micro_batch", phase.micro_batch > 0)?;
            positive("phase.scenes", phase.scenes > 0)?;
            positive("phase.rate", phase.rate > 0.0 && phase.rate.is_finite())?;
            positive("phase.first_token", phase.first_token > 0.0 && phase.first_token.is_finite())?;
            if let Some(set) = phase.sets.iter().flatten().find(|set| !self.learning_rate.contains_key(*set)) {
                return Err(format!("phase.sets names {set}, which has no learning_rate"));
            }
        }
        match self.learning_rate.is_empty() || self.phase.is_empty() || self.data.is_empty() {
            true => Err("at least one learning_rate, one phase and one source of data are needed".to_owned()),
            false => Ok(()),
        }
    }
}
