//! Where in an image the harm is.

mod colours;
mod draw;

use safevlm_core::{Taxonomy, Verdict, VerdictError, View};
use safevlm_family::TokenGrid;
use serde::Serialize;

use crate::safe_vlm::softmax;

/// What the guard says of each visual token of one image, as if the token were a whole image.
///
/// A token has seen the whole image (vision encoders attend everywhere), and in the language model the tokens
/// before it, so that this shows where the guard finds its evidence, not what an image of only that part would be.
#[derive(Clone, Debug)]
pub struct Heatmap {
    /// The verdict on the image, as [`SafeVlm::guard`](crate::SafeVlm::guard) gives it: of the mean of its tokens.
    pub verdict: Verdict,
    /// What the mean of the tokens' logits would say. It differs from the verdict, since the logits of a mean are
    /// not the mean of logits.
    pub mean_of_token_logits: Verdict,
    /// How the tokens lie over the image. What the model does not see of the image is outside.
    pub grid: TokenGrid,
    /// Width and height of the image, in pixels.
    pub size: (u32, u32),
    /// The probability of being unsafe of each token, 0 to 1, row by row from the upper left.
    pub unsafe_probabilities: Vec<f32>,
    /// The token that is most probably unsafe.
    pub peak: Peak,
    /// `[tokens, classes]`
    logits: Vec<f32>,
    classes: usize,
}

/// The visual token of an image that is most probably unsafe, padding left aside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// The column of its middle, in the image's pixels.
    pub x: u32,
    /// The row of its middle, in the image's pixels.
    pub y: u32,
    /// Its probability of being unsafe, 0 to 1.
    pub unsafe_probability: f32,
    /// The label of its most probable unsafe class.
    pub label: String,
    /// The probability of that class, 0 to 1.
    pub probability: f32,
}

impl Heatmap {
    /// Of the logits of each token, `[tokens, classes]`, which must be as many as `grid` has.
    pub(crate) fn new(
        logits: Vec<f32>,
        grid: TokenGrid,
        size: (u32, u32),
        verdict: Verdict,
        taxonomy: &Taxonomy,
    ) -> Result<Self, VerdictError> {
        let (classes, safe) = (taxonomy.len(), taxonomy.safe_id());
        let probabilities: Vec<Vec<f32>> = logits.chunks(classes).map(softmax).collect();
        if let Some(bad) = probabilities.iter().find(|row| row.iter().any(|value| !value.is_finite())) {
            Verdict::from_probabilities(bad, taxonomy, verdict.threshold)?;
        }
        let unsafe_probabilities: Vec<f32> =
            probabilities.iter().map(|row| (1.0 - row[safe]).clamp(0.0, 1.0)).collect();
        let mean: Vec<f32> = (0..classes)
            .map(|class| {
                let column = logits.iter().skip(class).step_by(classes);
                (column.map(|logit| f64::from(*logit)).sum::<f64>() / grid.tokens() as f64) as f32
            })
            .collect();
        let mean_of_token_logits = Verdict::from_probabilities(&softmax(&mean), taxonomy, verdict.threshold)?;

        let inside = (0..grid.tokens()).filter(|token| touches(&area(&grid, *token), size));
        let most = inside.max_by(|a, b| unsafe_probabilities[*a].total_cmp(&unsafe_probabilities[*b])).unwrap_or(0);
        let classes_of_it = probabilities[most].iter().copied().enumerate().filter(|(class, _)| *class != safe);
        let (class, probability) = classes_of_it.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((safe, 0.0));
        let middle = area(&grid, most);
        let clamp = |at: f64, side: u32| (at.max(0.0) as u32).min(side.saturating_sub(1));
        let peak = Peak {
            x: clamp(middle.left + middle.width / 2.0, size.0),
            y: clamp(middle.top + middle.height / 2.0, size.1),
            unsafe_probability: unsafe_probabilities[most],
            label: taxonomy.labels()[class].clone(),
            probability,
        };
        Ok(Self { verdict, mean_of_token_logits, grid, size, unsafe_probabilities, peak, logits, classes })
    }

    /// The guard's logits of one token, one for each class.
    pub fn logits(&self, token: usize) -> &[f32] {
        &self.logits[token * self.classes..][..self.classes]
    }

    /// The probability of each class for one token.
    pub fn probabilities(&self, token: usize) -> Vec<f32> {
        softmax(self.logits(token))
    }
}

/// What one token covers, in the image's pixels.
fn area(grid: &TokenGrid, token: usize) -> View {
    let (width, height) = (grid.view.width / grid.columns as f64, grid.view.height / grid.rows as f64);
    let (column, row) = (token % grid.columns, token / grid.columns);
    View { left: grid.view.left + column as f64 * width, top: grid.view.top + row as f64 * height, width, height }
}

/// Whether any of `area` is in an image of that width and height.
fn touches(area: &View, (width, height): (u32, u32)) -> bool {
    let overlap = |start: f64, length: f64, side: u32| start < f64::from(side) && start + length > 0.0;
    overlap(area.left, area.width, width) && overlap(area.top, area.height, height)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A map in which the tokens of `unsafe_ones` are weapons with probability 0.9, and the others safe with 0.9.
    pub(crate) fn map(grid: TokenGrid, size: (u32, u32), unsafe_ones: &[usize]) -> Heatmap {
        let taxonomy = Taxonomy::default();
        let row = |token: usize| {
            let mut row = vec![-100.0; 20];
            let weapon: f32 = if unsafe_ones.contains(&token) { 0.9 } else { 0.1 };
            (row[0], row[16]) = ((1.0 - weapon).ln(), weapon.ln());
            row
        };
        let logits = (0..grid.tokens()).flat_map(row).collect();
        let verdict = Verdict::from_probabilities(&softmax(&[0.0; 20]), &taxonomy, 0.5).unwrap();
        Heatmap::new(logits, grid, size, verdict, &taxonomy).unwrap()
    }

    #[test]
    fn the_peak_is_named_in_the_images_pixels() {
        let grid = TokenGrid { columns: 4, rows: 2, view: View::whole((400, 100)) };
        let map = map(grid, (400, 100), &[6]);
        assert_eq!((map.peak.x, map.peak.y, map.peak.label.as_str()), (250, 75, "weapon_related_violence"));
        assert!((map.peak.probability - 0.9).abs() < 1e-6 && (map.peak.unsafe_probability - 0.9).abs() < 1e-6);
        assert!((map.unsafe_probabilities[5] - 0.1).abs() < 1e-6);
        assert_eq!(map.probabilities(6)[16], map.peak.probability);
        // Logits of 0.1 and 0.9 are as far from each other as from nothing: 7 of 8 tokens are safe.
        let odds = 9f64.powf(-6.0 / 8.0);
        let mean = f64::from(map.mean_of_token_logits.unsafe_probability);
        assert!((mean - odds / (1.0 + odds)).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn padding_is_never_the_peak() {
        // A wide picture in the middle of a square: the upper and lower thirds are padding.
        let grid = TokenGrid::square(9, View::square((300, 100))).unwrap();
        assert_eq!(grid.view.top, -100.0);
        let map = map(grid, (300, 100), &[1, 3, 8]);
        assert_eq!((map.peak.x, map.peak.y), (50, 50));
    }

    #[test]
    fn numbers_that_are_none_are_an_error() {
        let grid = TokenGrid::square(1, View::whole((1, 1))).unwrap();
        let verdict = map(grid, (1, 1), &[]).verdict;
        let logits = [&[f32::NAN][..], &[0.0; 19]].concat();
        assert!(Heatmap::new(logits, grid, (1, 1), verdict, &Taxonomy::default()).is_err());
    }
}
