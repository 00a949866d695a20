//! Seeded chance that gives the same numbers on every machine and with every version of `rand`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A ChaCha8 stream with the few draws that composing needs; integers only.
#[derive(Debug, Clone)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one `seed` in one `domain`, so that equal seeds of two splits differ.
    pub(crate) fn new(domain: &str, seed: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (slot, byte) in key[8..].iter_mut().zip(domain.bytes()) {
            *slot = byte;
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `0..n`; 0 for `n` = 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // Multiply-shift: the bias is below 2^-32 * n, which no picture shows.
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: i32, high: i32) -> i32 {
        low + self.below((high - low + 1).max(1) as usize) as i32
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, or `None` where there is none.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_pinned() {
        let mut dice = Dice::new("train", 7);
        let drawn: Vec<usize> = (0..6).map(|_| dice.below(1000)).collect();
        assert_eq!(drawn, [441, 953, 34, 233, 589, 656]);
        assert_ne!(Dice::new("held_out", 7).below(1 << 20), Dice::new("train", 7).below(1 << 20));
    }

    #[test]
    fn draws_stay_in_range() {
        let mut dice = Dice::new("train", 1);
        for _ in 0..1000 {
            assert!((-3..=4).contains(&dice.between(-3, 4)));
            assert!(dice.below(5) < 5);
        }
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
