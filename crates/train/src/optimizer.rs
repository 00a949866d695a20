//! AdamW with a learning rate for each trained set, clipping by the global norm, and the schedule.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Gradients, Tensor};

use crate::error::TrainError;
use crate::recipe::Recipe;
use crate::trainable::Trainable;

/// Share of the highest learning rate at `step` of `steps`: linear warm-up, then a cosine down to
/// the recipe's `final_rate`.
pub fn learning_rate(recipe: &Recipe, step: usize, steps: usize) -> f64 {
    let warmup = (recipe.warmup * steps as f64).max(1.0);
    let at = step as f64 + 1.0;
    if at <= warmup {
        return at / warmup;
    }
    let done = ((at - warmup) / (steps as f64 - warmup).max(1.0)).min(1.0);
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    recipe.final_rate + (1.0 - recipe.final_rate) * cosine
}

/// AdamW over the trained sets. Each set is stepped with its own learning rate.
pub struct GroupedAdamW {
    optimizer: ModuleOptimizer,
    trainable: Trainable,
    clip_norm: f64,
}

impl GroupedAdamW {
    /// An optimizer without history.
    pub fn new(recipe: &Recipe, trainable: Trainable) -> Self {
        let optimizer = AdamWConfig::new().with_weight_decay(recipe.weight_decay).init();
        Self { optimizer, trainable, clip_norm: recipe.clip_norm }
    }

    /// The same optimizer for parameters that got other ids.
    pub(crate) fn with_trainable(mut self, trainable: Trainable) -> Self {
        self.trainable = trainable;
        self
    }

    /// One step with the `gradients` of a loss; `rates` gives each set's learning rate. Returns the
    /// global norm before clipping.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn step<M: Module>(
        &mut self,
        mut model: M,
        gradients: GradientsParams,
        rates: &BTreeMap<String, f64>,
    ) -> Result<(M, f64), TrainError> {
        let mut norm = SquaredNorm { gradients: &gradients, sum: None };
        model.visit(&mut norm);
        let norm = norm.sum.map_or(Ok(0.0), read)?.sqrt();
        let scale = if norm > self.clip_norm { self.clip_norm / norm } else { 1.0 };
        let mut gradients = gradients;
        for (set, ids) in &self.trainable.sets {
            let mut own = Take { ids, scale, from: &mut gradients, into: GradientsParams::new() };
            model.visit(&mut own);
            let own = own.into;
            model = self.optimizer.step(rates[set], model, own);
        }
        Ok((model, norm))
    }

    /// Writes the moments to `path`.
    pub(crate) fn save(&self, path: &Path) -> Result<(), TrainError> {
        self.optimizer.save(path).map_err(|e| TrainError::Checkpoint { path: path.to_owned(), reason: e.to_string() })
    }

    /// Reads the moments back; the parameters must have the ids they had.
    pub(crate) fn load(mut self, path: &Path) -> Result<Self, TrainError> {
        self.optimizer = self
            .optimizer
            .load(path)
            .map_err(|e| TrainError::Checkpoint { path: path.to_owned(), reason: e.to_string() })?;
        Ok(self)
    }
}

/// Sums gradients of several backward passes.
#[derive(Default)]
pub(crate) struct Accumulated<M> {
    inner: GradientsAccumulator<M>,
}

impl<M: Module> Accumulated<M> {
    pub(crate) fn new() -> Self {
        Self { inner: GradientsAccumulator::new() }
    }

    pub(crate) fn add(&mut self, gradients: Gradients, model: &M) {
        self.inner.accumulate(model, GradientsParams::from_grads(gradients, model));
    }

    pub(crate) fn take(&mut self) -> GradientsParams {
        self.inner.grads()
    }
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Take<'a> {
    ids: &'a [burn::module::ParamId],
    scale: f64,
    from: &'a mut GradientsParams,
    into: GradientsParams,
}

impl ModuleVisitor for Take<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.ids.contains(&param.id)
            && let Some(gradient) = self.from.remove::<D>(param.id)
        {
            let gradient = if self.scale == 1.0 { gradient } else { gradient.mul_scalar(self.scale) };
            self.into.register(param.id, gradient);
        }
    }
}

/// Reads a one-element tensor.
pub(crate) fn read(tensor: Tensor<1>) -> Result<f64, TrainError> {
    let value: f32 = tensor.try_into_scalar().map_err(|e| TrainError::Device(format!("{e:?}")))?;
    Ok(f64::from(value))
}
