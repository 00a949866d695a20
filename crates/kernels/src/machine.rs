//! What this machine can do at best, measured: no kernel is faster than memory and multipliers allow.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

use crate::level::level;

/// Bytes that are read for one measurement: no cache holds so many.
const BUFFER: usize = 256 << 20;
/// Rounds of the multiplication loop, some milliseconds.
const ROUNDS: usize = 1 << 20;
/// Independent sums of the multiplication loop: as many as hide its latency and still fit AVX2's registers.
const SUMS: usize = 7;
const LANES: usize = 16;
/// Places from which memory is read at a time, and how much of each.
const RUNS: usize = 4;
const WORDS: usize = 8;

/// The best of several measurements, with all threads of the pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Reading main memory once, in 10^9 bytes a second.
    pub read_gb_per_second: f64,
    /// Multiplying and adding f32 numbers in registers, in 10^9 operations a second; a multiplication with an
    /// addition counts as two.
    pub gflops: f64,
}

impl Limits {
    /// Measures them; it takes less than a second.
    pub fn measure() -> Self {
        let words = vec![1u64; BUFFER / 8];
        let part = words.len().div_ceil(rayon::current_num_threads());
        let level = level();
        let read = || words.par_chunks(part).map(|part| sum(level, part)).reduce(|| 0, u64::wrapping_add);
        let multiply = || {
            let threads = 0..rayon::current_num_threads();
            threads.into_par_iter().map(|_| multiply_add(level, ROUNDS, 0.999, 0.001)).reduce(|| 0.0, |a, b| a + b)
        };
        let operations = (ROUNDS * SUMS * LANES * 2 * rayon::current_num_threads()) as f64;
        Self {
            read_gb_per_second: BUFFER as f64 / 1e9 / best_seconds(|| black_box(read())),
            gflops: operations / 1e9 / best_seconds(|| black_box(multiply())),
        }
    }
}

fn best_seconds<T>(mut run: impl FnMut() -> T) -> f64 {
    let time = |_| {
        let begin = Instant::now();
        run();
        begin.elapsed().as_secs_f64()
    };
    (0..6).map(time).fold(f64::INFINITY, f64::min)
}

vectorised! {
    /// Memory is read faster in several long runs than in one.
    fn sum<M>(words: &[u64]) -> u64 {
        let run = words.len() / RUNS / WORDS * WORDS;
        let runs: [&[u64]; RUNS] = std::array::from_fn(|nth| &words[nth * run..][..run]);
        let mut sums = [[0u64; WORDS]; RUNS];
        for at in (0..run).step_by(WORDS) {
            for (sums, words) in sums.iter_mut().zip(runs) {
                for (sum, word) in sums.iter_mut().zip(&words[at..][..WORDS]) {
                    *sum = sum.wrapping_add(*word);
                }
            }
        }
        sums.iter().flatten().fold(0, |sum, word| sum.wrapping_add(*word))
    }
}

vectorised! {
    fn multiply_add<M>(rounds: usize, factor: f32, addend: f32) -> f32 {
        let mut sums = [[1.0f32; LANES]; SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                for value in sum {
                    *value = M::mul_add(*value, factor, addend);
                }
            }
        }
        sums.iter().flatten().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_possible() {
        let limits = Limits::measure();
        assert!(limits.read_gb_per_second > 0.1 && limits.read_gb_per_second < 1e5, "{limits:?}");
        assert!(limits.gflops > 0.01 && limits.gflops < 1e7, "{limits:?}");
    }
}
