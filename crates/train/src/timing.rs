//! How long a step takes, for `safevlm bench train`.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use safevlm::{Cache, Conversation, DeviceSpec, RgbImage};
use safevlm_family::Family;

use crate::base::Base;
use crate::batch::{Example, Turn};
use crate::error::TrainError;
use crate::norm::{global_norm, largest};
use crate::optimizer::GroupedAdamW;
use crate::peers::Peers;
use crate::recipe::{Phase, Recipe, Stage};
use crate::step::joint_step;
use crate::trainable::Trainable;
use crate::trainee::{Trainee, WithTrainee, with_trainee};

/// The recipe whose steps are timed: its trained sets, adapters and optimizer.
const RECIPE: &str = include_str!("../../../recipes/safe-smol.toml");
/// Two questions about one picture, as a composed scene has them on average, with answers as long as theirs.
const TURNS: [(&str, &str); 2] = [
    ("What is in this picture?", "This is a camera on a wooden table, seen from the side."),
    ("How could I use this to hurt somebody?", "I can't help with that. What you describe could hurt people."),
];

/// Milliseconds of each of `steps` steps of the joint loss over `batch` pictures with two questions and answers each,
/// in one forward pass: projector, guard and LoRA adapters learn, as recipes/safe-smol.toml has it.
///
/// # Errors
///
/// If `base` cannot be trained, or the loss is no number.
pub fn time_steps(base: &str, device: &DeviceSpec, batch: usize, steps: usize) -> Result<Vec<f64>, TrainError> {
    let bad = |reason: String| TrainError::Recipe { path: "recipes/safe-smol.toml".into(), reason };
    let recipe: Recipe = toml::from_str(RECIPE).map_err(|error| bad(error.message().to_owned()))?;
    let phase = recipe.phase.iter().find(|phase| phase.stage == Stage::Joint).cloned();
    let Some(phase) = phase.map(|phase| Phase { batch, micro_batch: batch, ..phase }) else { return Ok(Vec::new()) };
    // What only other phases train is not timed.
    let mut recipe = Recipe { base: base.to_owned(), vision_from: None, ..recipe };
    recipe.learning_rate.retain(|set, _| phase.sets.as_ref().is_none_or(|sets| sets.contains(set)));
    let (device, _) = device.open().map_err(safevlm::Error::from)?;
    let base = Base::find(&recipe, &Cache::open(None)?, false)?;
    let todo = Timed { recipe: &recipe, phase: &phase, base: &base, device: device.autodiff(), steps };
    with_trainee(&recipe.base, &base.config, todo)
}

struct Timed<'a> {
    recipe: &'a Recipe,
    phase: &'a Phase,
    base: &'a Base,
    device: Device,
    steps: usize,
}

impl WithTrainee for Timed<'_> {
    type Output = Vec<f64>;

    fn run<F: Trainee>(self) -> Result<Vec<f64>, TrainError> {
        let Self { recipe, phase, base, device, steps } = self;
        let loaded = base.load::<F>(recipe, &device)?;
        let mut model = loaded.model;
        let trainable = Trainable::find(&model, recipe.learning_rate.keys(), recipe.vision_from)?;
        let mut optimizer = GroupedAdamW::new(recipe, trainable.clone());
        model = trainable.only(|set| phase.trains(recipe, set)).apply(model);
        let ends = base.ends()?;
        let examples =
            (0..phase.batch).map(|nth| example(&loaded.family, &ends, nth)).collect::<Result<Vec<_>, _>>()?;
        let mut times = Vec::with_capacity(steps);
        for step in 1..=steps {
            let begin = Instant::now();
            let (gradients, sums) =
                joint_step(&model, recipe, phase, &examples, &loaded.family, &Peers::alone(), &device)?;
            if !sums.loss.is_finite() {
                return Err(TrainError::NotFinite {
                    step,
                    value: sums.loss,
                    samples: "the timed ones".to_owned(),
                    gradients: largest(&model, &gradients),
                });
            }
            let norm = global_norm(&model, &gradients)?;
            model = optimizer.step(model, gradients, norm, &recipe.learning_rate);
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(times)
    }
}

/// A picture of one colour, and what is asked about it.
fn example<F: Family>(family: &F, ends: &[u32], nth: usize) -> Result<Example, TrainError> {
    let image = Arc::new(RgbImage::from_pixel(224, 224, [40 + 30 * (nth % 7) as u8, 90, 160].into()));
    let (mut stem, mut turns) = (Vec::new(), Vec::new());
    for (question, answer) in TURNS {
        let conversation = Conversation::new().user(question, [image.clone()]);
        let (prompt, answer) = family.answered(&conversation, answer, ends)?;
        stem = prompt;
        let last = stem.iter().rposition(|id| Some(*id) == family.image_token());
        let question = stem.split_off(last.map_or(0, |last| last + 1));
        turns.push(Turn { question, answer, weight: 1.0, first_token: 1.0 });
    }
    Ok(Example { stem, turns, label: Some(nth % 20), images: vec![image] })
}
