//! Guessing one of several classes.

/// How often each class was guessed for each class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Without rows, over so many classes.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts one row; both numbers are below the number of classes.
    pub fn add(&mut self, truth: usize, guess: usize) {
        self.counts[truth][guess] += 1;
    }

    /// Rows of each class (first index) by the guessed class (second).
    pub fn into_counts(self) -> Vec<Vec<usize>> {
        self.counts
    }

    /// Share of rows whose class is guessed, 0 to 1; 0 without rows.
    pub fn accuracy(&self) -> f64 {
        let rows: usize = self.counts.iter().flatten().sum();
        let right: usize = self.counts.iter().enumerate().map(|(class, row)| row[class]).sum();
        right as f64 / rows.max(1) as f64
    }

    /// Mean F1 over the classes that occur or are guessed, 0 to 1; 0 without rows.
    pub fn macro_f1(&self) -> f64 {
        let (mut sum, mut seen) = (0.0, 0);
        for class in 0..self.counts.len() {
            let of_class: usize = self.counts[class].iter().sum();
            let guessed: usize = self.counts.iter().map(|row| row[class]).sum();
            if of_class + guessed > 0 {
                sum += 2.0 * self.counts[class][class] as f64 / (of_class + guessed) as f64;
                seen += 1;
            }
        }
        sum / f64::from(seen.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scikit-learn 1.9, `t = [0,0,1,2,2,2,4,4]`, `g = [0,1,1,2,2,0,4,4]`: `accuracy_score(t, g)` and
    /// `f1_score(t, g, average="macro")`. Class 3 neither occurs nor is guessed.
    #[test]
    fn figures_are_those_of_scikit_learn() {
        let mut confusion = Confusion::new(5);
        for (truth, guess) in [(0, 0), (0, 1), (1, 1), (2, 2), (2, 2), (2, 0), (4, 4), (4, 4)] {
            confusion.add(truth, guess);
        }
        assert_eq!(confusion.accuracy(), 0.75);
        assert!((confusion.macro_f1() - 0.7416666666666667).abs() < 1e-12, "{}", confusion.macro_f1());
        assert_eq!(confusion.into_counts()[2], [1, 0, 2, 0, 0]);
        assert_eq!((Confusion::new(2).accuracy(), Confusion::new(2).macro_f1()), (0.0, 0.0));
    }
}
