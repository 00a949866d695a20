//! Temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2).

/// The inverse temperature is looked for between one over this and this.
const WIDEST: f64 = 20.0;

/// Probabilities of one row under a temperature, and its log-likelihood.
#[derive(Debug, Clone, Copy)]
pub struct Temper {
    /// One over the temperature.
    inverse: f64,
}

/// A row's scaled distribution in sums: enough for everything that is asked of it.
struct Sums {
    /// Of the weights; the most probable class weighs 1.
    weight: f64,
    /// Of weight times log-probability, below the highest one.
    first: f64,
    /// Of weight times its square.
    second: f64,
    highest: f64,
}

impl Temper {
    /// Divides logits by `temperature`, which is above 0.
    pub fn new(temperature: f64) -> Self {
        Self { inverse: 1.0 / temperature }
    }

    /// The scaled probability of one class.
    pub fn probability(self, row: &[f32], class: usize) -> f64 {
        let sums = self.sums(row);
        ((log(row[class]) - sums.highest) * self.inverse).exp() / sums.weight
    }

    /// Minus the log of the scaled probability of the true class.
    pub fn negative_log_likelihood(self, row: &[f32], truth: usize) -> f64 {
        let sums = self.sums(row);
        sums.weight.ln() - (log(row[truth]) - sums.highest) * self.inverse
    }

    /// First and second derivative of the negative log-likelihood by the inverse temperature.
    fn derivatives(self, row: &[f32], truth: usize) -> (f64, f64) {
        let sums = self.sums(row);
        let mean = sums.first / sums.weight;
        (mean - (log(row[truth]) - sums.highest), sums.second / sums.weight - mean * mean)
    }

    /// Softmax forgets what is the same for all classes, so log-probabilities do as logits.
    fn sums(self, row: &[f32]) -> Sums {
        let highest = log(row.iter().copied().fold(0.0, f32::max));
        let mut sums = Sums { weight: 0.0, first: 0.0, second: 0.0, highest };
        for probability in row {
            let below = log(*probability) - highest;
            let weight = (below * self.inverse).exp();
            sums.weight += weight;
            sums.first += weight * below;
            sums.second += weight * below * below;
        }
        sums
    }
}

/// A probability of 0 counts as the smallest that there is.
fn log(probability: f32) -> f64 {
    f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

/// The temperature, 0.05 to 20, of the highest likelihood of rows, each its probabilities and its true class.
///
/// The negative log-likelihood is convex in the inverse temperature, so Newton's steps find its one minimum;
/// a step that would leave the interval in which it lies is replaced by the interval's geometric middle.
pub fn fit_temperature<'a>(rows: impl Iterator<Item = (&'a [f32], usize)> + Clone) -> f64 {
    let (mut low, mut high, mut inverse) = (1.0 / WIDEST, WIDEST, 1.0);
    for _ in 0..60 {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for (row, truth) in rows.clone() {
            let (first, second) = Temper { inverse }.derivatives(row, truth);
            slope += first;
            curvature += second;
        }
        match slope > 0.0 {
            true => high = inverse,
            false => low = inverse,
        }
        let step = inverse - slope / curvature;
        let next = if low < step && step < high { step } else { f64::sqrt(low * high) };
        let done = (next / inverse - 1.0).abs() < 1e-9;
        inverse = next;
        if done {
            break;
        }
    }
    1.0 / inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [([f32; 3], usize); 6] = [
        ([0.98, 0.01, 0.01], 0),
        ([0.9, 0.05, 0.05], 1),
        ([0.02, 0.95, 0.03], 1),
        ([0.05, 0.15, 0.8], 2),
        ([0.3, 0.6, 0.1], 0),
        ([0.001, 0.001, 0.998], 2),
    ];

    fn rows() -> impl Iterator<Item = (&'static [f32], usize)> + Clone {
        ROWS.iter().map(|(row, truth)| (row.as_slice(), *truth))
    }

    fn mean_nll(temperature: f64) -> f64 {
        rows().map(|(row, truth)| Temper::new(temperature).negative_log_likelihood(row, truth)).sum::<f64>() / 6.0
    }

    /// scipy 1.17 with the probabilities `p` and classes `y` of `ROWS`: `nll = lambda u: -log_softmax(np.log(p) / exp(u),
    /// axis=1)[range(6), y].mean()`, `minimize_scalar(nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-12})`.
    #[test]
    fn the_fit_is_that_of_scipy() {
        let temperature = fit_temperature(rows());
        assert!((temperature - 1.720390811).abs() < 1e-5, "{temperature}");
        assert!((mean_nll(temperature) - 0.6567409717653921).abs() < 1e-7, "{}", mean_nll(temperature));
        assert!((mean_nll(1.0) - 0.7493910993792791).abs() < 1e-7, "{}", mean_nll(1.0));
        let scaled = Temper::new(temperature).probability(&ROWS[1].0, 0);
        assert!((scaled - 0.7284790869034522).abs() < 1e-6, "{scaled}");
    }

    #[test]
    fn extremes_end_at_the_bounds() {
        let right: [&[f32]; 2] = [&[0.6, 0.4], &[0.2, 0.8]];
        assert!((fit_temperature(right.into_iter().zip([0, 1])) - 0.05).abs() < 1e-6);
        assert!((fit_temperature(right.into_iter().zip([1, 0])) - 20.0).abs() < 1e-4);
        let certain: [&[f32]; 1] = [&[1.0, 0.0]];
        assert!(fit_temperature(certain.into_iter().zip([1])).is_finite());
        let flat: [&[f32]; 1] = [&[0.5, 0.5]];
        assert!(fit_temperature(flat.into_iter().zip([1])).is_finite());
    }
}
