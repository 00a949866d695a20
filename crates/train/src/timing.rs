//! How long a step takes, for `safevlm bench train`.

use std::sync::Arc;
use std::time::Instant;

use safevlm::{Cache, Conversation, DeviceSpec, RgbImage};
use safevlm_family::{Family, Loaded};
use safevlm_nn::CausalLm;
use safevlm_safe_smol::Processor;

use crate::batch::{Example, Turn};
use crate::error::TrainError;
use crate::learner::{joint_step, load_base};
use crate::optimizer::GroupedAdamW;
use crate::recipe::{Phase, Recipe, Stage};
use crate::trainable::Trainable;

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
/// If `base` is no safe-smol, or the loss is no number.
pub fn time_steps(base: &str, device: &DeviceSpec, batch: usize, steps: usize) -> Result<Vec<f64>, TrainError> {
    let recipe: Recipe = toml::from_str(RECIPE).map_err(|error| TrainError::Recipe {
        path: "recipes/safe-smol.toml".into(),
        reason: error.message().to_owned(),
    })?;
    let phase = recipe.phase.iter().find(|phase| phase.stage == Stage::Joint).cloned();
    let Some(phase) = phase.map(|phase| Phase { batch, micro_batch: batch, ..phase }) else { return Ok(Vec::new()) };
    let (plain, _) = device.open().map_err(safevlm::Error::from)?;
    let device = plain.autodiff();
    let Loaded { mut model, family: processor, .. } = load_base(base, &Cache::open(None)?, &device, false)?;
    let lora = &recipe.lora;
    model.language_model = model.language_model.attach_lora(&lora.targets, lora.rank, lora.alpha);
    let trainable = Trainable::find(&model, recipe.learning_rate.keys(), recipe.vision_from)?;
    let mut optimizer = GroupedAdamW::new(&recipe, trainable.clone());
    model = trainable.only(|set| phase.trains(&recipe, set)).apply(model);

    let examples = (0..batch).map(|nth| example(&processor, nth)).collect::<Result<Vec<_>, _>>()?;
    let mut times = Vec::with_capacity(steps);
    for step in 1..=steps {
        let begin = Instant::now();
        let (gradients, sums) = joint_step(&model, &recipe, &phase, &examples, &processor, &device)?;
        if !sums.loss.is_finite() {
            return Err(TrainError::NotFinite { step, value: sums.loss as f32 });
        }
        (model, _) = optimizer.step(model, gradients, &recipe.learning_rate)?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// A picture of one colour, and what is asked about it.
fn example(processor: &Processor, nth: usize) -> Result<Example, TrainError> {
    let side = 224;
    let image = Arc::new(RgbImage::from_pixel(side, side, [40 + 30 * (nth % 7) as u8, 90, 160].into()));
    let (mut stem, mut turns) = (Vec::new(), Vec::new());
    for (question, answer) in TURNS {
        let conversation = Conversation::new().user(question, [image.clone()]);
        stem = processor.prompt(&conversation)?;
        let last = stem.iter().rposition(|id| Some(*id) == processor.image_token());
        let question = stem.split_off(last.map_or(0, |last| last + 1));
        let answer = processor.answer(answer)?;
        turns.push(Turn { question, answer, weight: 1.0, first_token: 1.0 });
    }
    Ok(Example { stem, turns, label: Some(nth % 20), image: Arc::unwrap_or_clone(image) })
}
