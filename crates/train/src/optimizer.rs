//! AdamW with a learning rate for each trained set, clipping by the global norm, and the schedule.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use safevlm_core::host::{self, HostTensor};
use safevlm_kernels::adamw::AdamW;
use safevlm_nn::precision::widened;
use safevlm_weights::{FieldPath, SafetensorsDir, SaveDtype, TensorSource, Tensors, WeightsError, save_tensors};

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

/// AdamW (arXiv 1711.05101, with the constants of PyTorch's) over the trained sets, each stepped
/// with its own learning rate. Of a parameter in half precision, in which a step is mostly too small to change
/// anything, it keeps the value in f32, and rounds that anew after each step.
///
/// Burn's optimizer would do, but reads a checkpoint's moments onto its default device, which
/// panics where that device is compiled in and not there.
pub struct GroupedAdamW {
    trainable: Trainable,
    weight_decay: f64,
    clip_norm: f64,
    /// By the parameter's path.
    moments: BTreeMap<String, Moments>,
}

/// Running means of a parameter's gradient and of its square, in f32 and flattened.
struct Moments {
    mean: Tensor<1>,
    square: Tensor<1>,
    steps: i32,
    /// The parameter's value, where it has one of half precision itself.
    exact: Option<Tensor<1>>,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// What the f32 value of a parameter is called in a checkpoint.
const EXACT: &str = "exact";

impl GroupedAdamW {
    /// An optimizer without history.
    pub fn new(recipe: &Recipe, trainable: Trainable) -> Self {
        Self::with_settings(trainable, f64::from(recipe.weight_decay), recipe.clip_norm)
    }

    /// An optimizer without history, and without a recipe.
    pub fn with_settings(trainable: Trainable, weight_decay: f64, clip_norm: f64) -> Self {
        Self { trainable, weight_decay, clip_norm, moments: BTreeMap::new() }
    }

    /// One step with the `gradients` of a loss, whose [`global_norm`](crate::global_norm) is `norm`; `rates` gives each set's learning rate,
    /// and a set without one stays as it is.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: GradientsParams,
        norm: f64,
        rates: &BTreeMap<String, f64>,
    ) -> M {
        let scale = if norm > self.clip_norm { self.clip_norm / norm } else { 1.0 };
        let sets = self.trainable.sets.iter();
        let rates = sets.filter_map(|(set, ids)| Some((ids, *rates.get(set)?)));
        let rates = rates.flat_map(|(ids, rate)| ids.iter().map(move |id| (*id, rate))).collect();
        model.map(&mut Update { optimizer: self, gradients, rates, scale, path: FieldPath::default() })
    }

    /// The value in f32 of the parameter at `path`, flattened; none of one that is f32 itself or has never been stepped.
    pub(crate) fn exact(&self, path: &str) -> Option<Tensor<1>> {
        self.moments.get(path)?.exact.clone()
    }

    /// Writes the moments to `path`.
    pub(crate) fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut tensors = Tensors::new();
        for (name, Moments { mean, square, steps, exact }) in &self.moments {
            let mut put =
                |part: &str, values: Vec<f32>| tensors.insert(format!("{name}.{part}"), vec![values.len()], values);
            put("mean", read_all(mean.clone())?)?;
            put("square", read_all(square.clone())?)?;
            // Whole numbers up to 2^24 are exact in f32.
            put("steps", vec![*steps as f32])?;
            if let Some(exact) = exact {
                put(EXACT, read_all(exact.clone())?)?;
            }
        }
        Ok(save_tensors(path, &tensors, SaveDtype::F32, &BTreeMap::new())?)
    }

    /// Reads the moments back onto `device`.
    pub(crate) fn load(mut self, path: &Path, device: &Device) -> Result<Self, TrainError> {
        let file = SafetensorsDir::open(path)?;
        for name in file.names() {
            let Some(parameter) = name.strip_suffix(".steps") else { continue };
            let moment = |part: &str| {
                let values = file.read_f32(&format!("{parameter}.{part}"))?;
                let shape = [values.len()];
                Ok::<_, WeightsError>(Tensor::from_data(TensorData::new(values, shape), device))
            };
            let steps = file.read_f32(&name)?.first().copied().unwrap_or_default() as i32;
            let exact = file.info(&format!("{parameter}.{EXACT}")).map(|_| moment(EXACT)).transpose()?;
            let moments = Moments { mean: moment("mean")?, square: moment("square")?, steps, exact };
            self.moments.insert(parameter.to_owned(), moments);
        }
        Ok(self)
    }
}

/// Steps every parameter that has a gradient and a rate.
struct Update<'a> {
    optimizer: &'a mut GroupedAdamW,
    gradients: GradientsParams,
    rates: BTreeMap<ParamId, f64>,
    scale: f64,
    path: FieldPath,
}

impl Update<'_> {
    /// `gradient` is f32, `value` may be of half precision.
    fn step<const D: usize>(&mut self, value: Tensor<D>, gradient: Tensor<D>, rate: f64) -> Tensor<D> {
        let path = self.path.name();
        let old = self.optimizer.moments.remove(&path);
        let Moments { mean, square, steps, exact } = old.unwrap_or_else(|| Moments::none(&gradient));
        let steps = steps + 1;
        let (dtype, shape) = (value.dtype(), value.dims());
        let value = exact.map_or_else(|| widened(value), |exact| exact.reshape(shape));
        let settings = AdamW {
            rate,
            betas: [BETA_1, BETA_2],
            epsilon: EPSILON,
            decay: self.optimizer.weight_decay,
            scale: self.scale,
            steps,
        };
        let plain = host::is_plain(&value) && host::is_plain(&mean) && host::is_plain(&square);
        let (value, mean, square) = match HostTensor::of(&gradient).filter(|_| plain) {
            Some(gradient) => step_on_host(&settings, value, &gradient, mean, square),
            None => step_on_device(&settings, value, gradient, mean, square),
        };
        let exact = (dtype != DType::F32).then(|| value.clone().reshape([value.shape().num_elements()]));
        self.optimizer.moments.insert(path, Moments { mean, square, steps, exact });
        // No copy where it is f32 already.
        value.cast(dtype)
    }
}

impl Moments {
    /// Those before the first step.
    fn none<const D: usize>(gradient: &Tensor<D>) -> Self {
        let zeros = || Tensor::zeros([gradient.shape().num_elements()], (&gradient.device(), gradient.dtype()));
        Self { mean: zeros(), square: zeros(), steps: 0, exact: None }
    }
}

/// A step over values that are all plainly in main memory.
fn step_on_host<const D: usize>(
    settings: &AdamW,
    value: Tensor<D>,
    gradient: &HostTensor,
    mean: Tensor<1>,
    square: Tensor<1>,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    let (shape, device) = (value.dims(), value.device());
    let mut values = host::take(value).unwrap_or_default();
    let [mut mean, mut square] = [mean, square].map(|x| host::take(x).unwrap_or_default());
    settings.step(&mut values, gradient.values(), &mut mean, &mut square);
    let [mean, square] = [mean, square].map(|x| {
        let len = x.len();
        host::tensor(x, [len], &device)
    });
    (host::tensor(values, shape, &device), mean, square)
}

/// The same by Burn.
fn step_on_device<const D: usize>(
    settings: &AdamW,
    value: Tensor<D>,
    gradient: Tensor<D>,
    mean: Tensor<1>,
    square: Tensor<1>,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    let AdamW { rate, betas, epsilon, decay, scale, steps } = *settings;
    let shape = gradient.dims();
    let gradient = gradient.reshape([shape.iter().product::<usize>()]).mul_scalar(scale);
    let squared = gradient.clone().square();
    let mean = mean.mul_scalar(betas[0]) + gradient.mul_scalar(1.0 - betas[0]);
    let square = square.mul_scalar(betas[1]) + squared.mul_scalar(1.0 - betas[1]);
    let missing = betas.map(|beta| 1.0 - beta.powi(steps));
    let root = square.clone().div_scalar(missing[1]).sqrt().add_scalar(epsilon);
    let change = (mean.clone().div_scalar(missing[0]) / root).reshape(shape);
    (value.mul_scalar(1.0 - rate * decay) - change.mul_scalar(rate), mean, square)
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(rate) = self.rates.get(&param.id).copied() else { return param };
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        param.map(|value| changed(value, |value| self.step(value, gradient, rate)).require_grad())
    }
}

/// `value` as `change` makes it, outside of what is tracked.
pub(crate) fn changed<const D: usize>(value: Tensor<D>, change: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    let strategy = value.gradient_checkpointing_strategy();
    let value = Tensor::from_inner(change(value.inner()));
    // Without it the value would be of another kind than the rest of the model.
    strategy.into_iter().fold(value, Tensor::with_gradient_checkpointing_strategy)
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
        self.inner.accumulate(model, in_f32(gradients, model));
    }

    pub(crate) fn take(&mut self) -> GradientsParams {
        self.inner.grads()
    }
}

/// The gradients of every parameter of `model`, in f32 whatever its type.
pub(crate) fn in_f32<M: Module>(gradients: Gradients, model: &M) -> GradientsParams {
    let mut widen = Widen { gradients: GradientsParams::from_grads(gradients, model) };
    model.visit(&mut widen);
    widen.gradients
}

struct Widen {
    gradients: GradientsParams,
}

impl ModuleVisitor for Widen {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, widened(gradient));
        }
    }
}

/// Reads a one-element tensor.
pub(crate) fn read(tensor: Tensor<1>) -> Result<f64, TrainError> {
    let value: f32 = widened(tensor).try_into_scalar().map_err(|e| TrainError::Device(format!("{e:?}")))?;
    Ok(f64::from(value))
}

/// Reads all values of a tensor, one row after another.
pub(crate) fn read_all<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let data = widened(tensor.detach()).try_into_data().map_err(|e| TrainError::Device(e.to_string()))?;
    data.try_into_vec().map_err(|e| TrainError::Device(format!("{e:?}")))
}
