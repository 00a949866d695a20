//! Work over slices on the threads of rayon's pool, where there is enough of it.

use rayon::prelude::*;

/// Nanoseconds of work that a thread is woken for; handing it over costs some 5 to 20 µs.
const WORTH_A_THREAD: usize = 25_000;

/// How many rows of work, each of `cost` nanoseconds, go to a thread at once; `None` if one thread does all.
fn share(rows: usize, cost: usize) -> Option<usize> {
    let least = WORTH_A_THREAD.div_ceil(cost.max(1));
    if rows < least.saturating_mul(2) {
        return None;
    }
    let threads = rayon::current_num_threads();
    // Some pieces more than threads, so that a thread that is late does not hold up the others.
    (threads > 1).then(|| rows.div_ceil(threads * 4).max(least))
}

/// Runs `work` over parts of `x`, each a whole number of rows `width` wide, with the number of their first row.
/// `cost` is a row's in nanoseconds.
pub(crate) fn rows(x: &mut [f32], width: usize, cost: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if x.is_empty() {
        return;
    }
    match share(x.len() / width, cost) {
        None => work(0, x),
        Some(share) => {
            let parts = x.par_chunks_mut(share * width).enumerate();
            parts.for_each(|(part, x)| work(part * share, x));
        }
    }
}

/// The same with a second slice of rows, `width2` wide.
pub(crate) fn rows2(
    (x, width): (&mut [f32], usize),
    (y, width2): (&mut [f32], usize),
    cost: usize,
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    if x.is_empty() || y.is_empty() {
        return;
    }
    match share(x.len() / width, cost) {
        None => work(0, x, y),
        Some(share) => {
            let parts = x.par_chunks_mut(share * width).zip(y.par_chunks_mut(share * width2)).enumerate();
            parts.for_each(|(part, (x, y))| work(part * share, x, y));
        }
    }
}
