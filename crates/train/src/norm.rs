//! How large gradients are.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use safevlm_weights::FieldPath;

use crate::error::TrainError;
use crate::optimizer::read;

/// The norm of all gradients together.
///
/// # Errors
///
/// If the device fails.
pub fn global_norm<M: Module>(model: &M, gradients: &GradientsParams) -> Result<f64, TrainError> {
    let mut norm = SquaredNorm { gradients, sum: None };
    model.visit(&mut norm);
    Ok(norm.sum.map_or(Ok(0.0), read)?.sqrt())
}

/// The three parameters with the largest gradients, those that are no numbers first, and their norms.
pub(crate) fn largest<M: Module>(model: &M, gradients: &GradientsParams) -> String {
    let mut norms = Norms { gradients, path: FieldPath::default(), found: Vec::new() };
    model.visit(&mut norms);
    let size = |norm: f64| if norm.is_finite() { norm } else { f64::INFINITY };
    norms.found.sort_by(|(_, a), (_, b)| size(*b).total_cmp(&size(*a)));
    let largest: Vec<String> = norms.found.iter().take(3).map(|(name, norm)| format!("{name} {norm:.2e}")).collect();
    largest.join(", ")
}

struct Norms<'a> {
    gradients: &'a GradientsParams,
    path: FieldPath,
    found: Vec<(String, f64)>,
}

impl ModuleVisitor for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.found.push((self.path.name(), read(gradient.square().sum()).map_or(f64::NAN, f64::sqrt)));
        }
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.exit(container);
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
