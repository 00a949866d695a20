//! Work over slices on the threads of the team, where there is enough of it.

use std::ops::Range;

use crate::team;

/// Nanoseconds of work that a thread is given: handing it over costs about one µs, and much more if it sleeps.
const WORTH_A_THREAD: usize = 12_000;

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
            team::for_each(x.chunks_mut(share * width), |part, x| work(part * share, x));
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
            let parts = x.chunks_mut(share * width).zip(y.chunks_mut(share * width2));
            team::for_each(parts, |part, (x, y)| work(part * share, x, y));
        }
    }
}

/// The sum of what `add` adds up over parts of `count` rows, to begin with zeros as many as `out` has. `cost` is a
/// row's in nanoseconds.
pub(crate) fn sums(count: usize, cost: usize, out: &mut [f32], add: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    out.fill(0.0);
    let Some(share) = share(count, cost) else { return add(0..count, out) };
    let starts: Vec<usize> = (0..count).step_by(share).collect();
    let mut parts = vec![vec![0.0; out.len()]; starts.len()];
    team::for_each(parts.iter_mut().zip(starts), |_, (sums, start)| add(start..(start + share).min(count), sums));
    for part in parts {
        out.iter_mut().zip(part).for_each(|(out, part)| *out += part);
    }
}
