//! The optimizer's step, in one pass over each parameter.

use rayon::prelude::*;

use crate::level::level;

/// Values that a thread takes at once.
const SHARE: usize = 1 << 14;

/// What a step of AdamW (arXiv 1711.05101) needs to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub rate: f64,
    /// Share of the old running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// What of each value is taken away, times the rate.
    pub decay: f64,
    /// Factor of the gradient.
    pub scale: f64,
    /// How many steps there have been, with this one.
    pub steps: i32,
}

/// The same in f32, as every value needs it.
struct Factors {
    scale: f32,
    betas: [f32; 2],
    rests: [f32; 2],
    kept: f32,
    rate: f32,
    root: f32,
    epsilon: f32,
}

impl AdamW {
    /// One step: changes `values` by `grad`, and its running means, `mean` and `square`, which begin as zeros.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn step(&self, values: &mut [f32], grad: &[f32], mean: &mut [f32], square: &mut [f32]) {
        let len = values.len();
        assert!(grad.len() == len && mean.len() == len && square.len() == len, "the lengths must be the same");
        let factors = self.factors();
        let means = mean.par_chunks_mut(SHARE).zip(square.par_chunks_mut(SHARE));
        let parts = values.par_chunks_mut(SHARE).zip(grad.par_chunks(SHARE)).zip(means);
        parts.for_each(|((values, grad), (mean, square))| step_at(level(), &factors, values, grad, mean, square));
    }

    fn factors(&self) -> Factors {
        // Both means are too small by this, since they began as zeros.
        let missing = self.betas.map(|beta| 1.0 - beta.powi(self.steps));
        Factors {
            scale: self.scale as f32,
            betas: self.betas.map(|beta| beta as f32),
            rests: self.betas.map(|beta| (1.0 - beta) as f32),
            kept: (1.0 - self.rate * self.decay) as f32,
            rate: (self.rate / missing[0]) as f32,
            root: (1.0 / missing[1].sqrt()) as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

vectorised! {
    fn step_at<M>(by: &Factors, values: &mut [f32], grad: &[f32], mean: &mut [f32], square: &mut [f32]) {
        for (((value, grad), mean), square) in values.iter_mut().zip(grad).zip(mean).zip(square) {
            let grad = *grad * by.scale;
            *mean = M::mul_add(*mean, by.betas[0], grad * by.rests[0]);
            *square = M::mul_add(*square, by.betas[1], grad * grad * by.rests[1]);
            let root = M::mul_add(square.sqrt(), by.root, by.epsilon);
            *value = M::mul_add(*value, by.kept, -(by.rate * *mean / root));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::testing::{assert_close, values, wide};

    #[test]
    fn steps_are_those_of_f64() {
        let settings = AdamW { rate: 0.01, betas: [0.9, 0.999], epsilon: 1e-8, decay: 0.1, scale: 0.5, steps: 0 };
        for level in Level::available() {
            let mut found = [values(77, 1), vec![0.0; 77], vec![0.0; 77]];
            let mut exact = found.each_ref().map(|x| wide(x));
            for steps in 1..5 {
                let grad = values(77, 1 + steps as u64);
                let settings = AdamW { steps, ..settings };
                let [value, mean, square] = found.each_mut();
                step_at(level, &settings.factors(), value, &grad, mean, square);
                for at in 0..77 {
                    let grad = f64::from(grad[at]) * settings.scale;
                    exact[1][at] = 0.9 * exact[1][at] + 0.1 * grad;
                    exact[2][at] = 0.999 * exact[2][at] + 0.001 * grad * grad;
                    let (mean, square) =
                        (exact[1][at] / (1.0 - 0.9f64.powi(steps)), exact[2][at] / (1.0 - 0.999f64.powi(steps)));
                    exact[0][at] -= 0.01 * (0.1 * exact[0][at] + mean / (square.sqrt() + 1e-8));
                }
                for (found, exact) in found.iter().zip(&exact) {
                    assert_close(found, exact, 1e-5, 1e-6, level.name());
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_anything() {
        let settings = AdamW { rate: 0.01, betas: [0.9, 0.999], epsilon: 1e-8, decay: 0.1, scale: 1.0, steps: 1 };
        let (grad, zeros) = (values(50_000, 1), vec![0.0; 50_000]);
        let mut found = [values(50_000, 2), zeros.clone(), zeros];
        let mut expected = found.clone();
        let [value, mean, square] = found.each_mut();
        settings.step(value, &grad, mean, square);
        let [value, mean, square] = expected.each_mut();
        step_at(level(), &settings.factors(), value, &grad, mean, square);
        assert!(found == expected);
    }
}
