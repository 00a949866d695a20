//! Several sources as one, in an order that follows from a seed.

use std::sync::{Mutex, PoisonError};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::TrainError;
use crate::sample::{Sample, Source};

/// Sources with the share of each. Samples are numbered from 0 on without end: a source that has been seen whole is
/// begun again, in another order.
pub struct Mix {
    parts: Vec<Part>,
    drawn: Mutex<Drawn>,
}

/// What each number means, as far as that has been drawn.
struct Drawn {
    rng: ChaCha8Rng,
    /// For each number its part, and which of the part's samples it is.
    places: Vec<(usize, usize)>,
    /// For each part the sample that is drawn from it next.
    next: Vec<usize>,
}

struct Part {
    source: Box<dyn Source>,
    weight: f64,
    seed: u64,
    /// The order of one epoch.
    order: Mutex<Option<(usize, Vec<u32>)>>,
}

impl Mix {
    /// Sources, each with its weight beside the others; without one a source counts as many as it has samples, and an
    /// endless one 1.
    ///
    /// # Panics
    ///
    /// If there is no source, which is a mistake of the caller.
    pub fn new(sources: Vec<(Box<dyn Source>, Option<f64>)>, seed: u64) -> Self {
        assert!(!sources.is_empty(), "a mix has a source");
        let next = vec![0; sources.len()];
        let parts = sources.into_iter().enumerate().map(|(nth, (source, weight))| {
            let weight = weight.unwrap_or_else(|| source.count().map_or(1.0, |count| count as f64));
            Part { source, weight, seed: seed ^ (nth as u64 + 1) << 40, order: Mutex::new(None) }
        });
        Self {
            parts: parts.collect(),
            drawn: Mutex::new(Drawn { rng: ChaCha8Rng::seed_from_u64(seed), places: Vec::new(), next }),
        }
    }

    /// Samples of one epoch: of all sources that end. None where all are endless.
    pub fn epoch(&self) -> Option<usize> {
        self.parts.iter().filter_map(|part| part.source.count()).reduce(|a, b| a + b)
    }

    /// The sample of that number.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn sample(&self, number: usize) -> Result<Sample, TrainError> {
        let (part, nth) = self.place(number);
        self.parts[part].sample(nth)
    }

    fn place(&self, number: usize) -> (usize, usize) {
        if self.parts.len() == 1 {
            return (0, number);
        }
        // What was drawn before a panic was drawn rightly.
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let Drawn { rng, places, next } = &mut *drawn;
        let total: f64 = self.parts.iter().map(|part| part.weight).sum();
        while places.len() <= number {
            let mut at = rng.random_range(0.0..total);
            let part = self.parts.iter().position(|part| {
                at -= part.weight;
                at < 0.0
            });
            let part = part.unwrap_or(self.parts.len() - 1);
            places.push((part, next[part]));
            next[part] += 1;
        }
        places[number]
    }
}

impl Part {
    /// The `nth` sample that is drawn from this source.
    fn sample(&self, nth: usize) -> Result<Sample, TrainError> {
        let Some(count) = self.source.count() else { return self.source.sample(nth) };
        let epoch = nth / count;
        let number = {
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            let made = order.take().filter(|(of, _)| *of == epoch);
            let (_, numbers) = order.insert(made.unwrap_or_else(|| {
                let mut numbers: Vec<u32> = (0..count as u32).collect();
                numbers.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(epoch as u64)));
                (epoch, numbers)
            }));
            numbers[nth % count] as usize
        };
        self.source.sample(number)
    }
}
