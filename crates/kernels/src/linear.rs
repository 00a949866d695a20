//! Linear layers with f32 weights in the layout of checkpoints, `[outputs, inputs]`, which are read where they lie.
//!
//! With many rows, 16 of them are the lanes of vectors: only the activations are brought into another order, and each
//! weight is read once for them and multiplied with all 16. With few, as in decoding, a vector holds a part of one
//! row of weights, and memory sets the pace.

#[cfg(target_arch = "x86_64")]
mod avx2;

use rayon::prelude::*;

use crate::level::{Level, MulAdd, level};
use crate::tile::{HALF, LANES, ROWS as OUTPUTS, tile};

/// Up to so many rows of activations, vectors run along the inputs.
const FEW: usize = 8;
/// Rows of weights that a row of activations is multiplied with at once when vectors run along the inputs.
const WEIGHTS: usize = 4;
/// Values of activations that are used over and over: they must stay in the second cache.
const RESIDENT: usize = 48 << 10;
/// Multiplications that are worth waking a thread for, some tens of microseconds.
const WORTH_A_THREAD: usize = 1 << 18;

/// `y = x · Wᵀ`
///
/// # Shapes
///
/// - `x`: `[rows, inputs]`, `weight`: `[outputs, inputs]`, `y`: `[rows, outputs]`, overwritten
///
/// # Panics
///
/// If the lengths do not fit each other.
pub fn linear(x: &[f32], weight: &[f32], inputs: usize, y: &mut [f32]) {
    linear_at(level(), x, weight, inputs, y);
}

fn linear_at(level: Level, x: &[f32], weight: &[f32], inputs: usize, y: &mut [f32]) {
    if inputs == 0 {
        assert!(x.is_empty() && weight.is_empty(), "values without inputs");
        return y.fill(0.0);
    }
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    assert!(x.len() == rows * inputs && weight.len() == outputs * inputs, "rows of {inputs} inputs");
    assert_eq!(y.len(), rows * outputs, "{rows} rows of {outputs} outputs");
    if y.is_empty() {
        return;
    }
    let threads = rayon::current_num_threads();
    let parts = if rows * weight.len() < WORTH_A_THREAD { 1 } else { threads * if rows > FEW { 4 } else { 1 } };
    let share = outputs.div_ceil(parts).next_multiple_of(OUTPUTS);
    // Each part gets its own columns of all rows of the output.
    let mut columns: Vec<Vec<&mut [f32]>> = (0..outputs.div_ceil(share)).map(|_| Vec::with_capacity(rows)).collect();
    for row in y.chunks_exact_mut(outputs) {
        row.chunks_mut(share).zip(&mut columns).for_each(|(part, columns)| columns.push(part));
    }
    let mut work: Vec<_> = columns.into_iter().zip(weight.chunks(share * inputs)).collect();
    let panels = if rows > FEW { pack(x, inputs, parts > 1) } else { Vec::new() };
    let run = |(y, weight): &mut (Vec<&mut [f32]>, &[f32])| match rows > FEW {
        true => by_rows(level, &panels, weight, inputs, y),
        false => by_inputs(level, x, weight, inputs, y),
    };
    match work.len() {
        1 => work.iter_mut().for_each(run),
        _ => work.par_iter_mut().with_max_len(1).for_each(run),
    }
}

/// The activations as panels, `[rows / 16, inputs, 16]`; up to 8 rows that remain make a narrow one,
/// `[inputs, 8]`. Missing rows are 0.
fn pack(x: &[f32], inputs: usize, threads: bool) -> Vec<f32> {
    let rows = x.len() / inputs;
    let mut panels = vec![0.0; rows.next_multiple_of(HALF) * inputs];
    let fill = |(panel, x): (&mut [f32], &[f32])| {
        let width = panel.len() / inputs;
        for (lane, x) in x.chunks_exact(inputs).enumerate() {
            panel.chunks_exact_mut(width).zip(x).for_each(|(panel, x)| panel[lane] = *x);
        }
    };
    let share = LANES * inputs;
    match threads {
        true => panels.par_chunks_mut(share).zip(x.par_chunks(share)).for_each(fill),
        false => panels.chunks_mut(share).zip(x.chunks(share)).for_each(fill),
    }
    panels
}

/// One part's outputs, 16 rows in the lanes.
fn by_rows(level: Level, panels: &[f32], weight: &[f32], inputs: usize, y: &mut [&mut [f32]]) {
    let panel = inputs * LANES;
    let resident = (RESIDENT / panel).max(1);
    for (nth, block) in panels.chunks(resident * panel).enumerate() {
        let y = &mut y[nth * resident * LANES..];
        for (first, weight) in (0..).step_by(OUTPUTS).zip(weight.chunks(OUTPUTS * inputs)) {
            let count = weight.len() / inputs;
            // The last tile may have fewer rows: the missing ones are computed twice, and dropped.
            let row = |nth: usize| {
                let nth = nth.min(count - 1);
                &weight[nth * inputs..][..inputs]
            };
            let rows: [&[f32]; OUTPUTS] = std::array::from_fn(row);
            for (panel, y) in block.chunks(panel).zip(y.chunks_mut(LANES)) {
                let mut sums = [[0.0; LANES]; OUTPUTS];
                let width = panel.len() / inputs;
                tile(level, width == HALF, panel, width, &rows, &mut sums);
                for (lane, y) in y.iter_mut().enumerate() {
                    let y = &mut y[first..][..count];
                    y.iter_mut().zip(&sums).for_each(|(y, sums)| *y = sums[lane]);
                }
            }
        }
    }
}

/// The products of one row with four rows of weights, which lie one after the other.
fn dots(level: Level, x: &[f32], weights: &[f32], out: &mut [f32; WEIGHTS]) {
    match level {
        // SAFETY: a level is only taken after its features have been found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => unsafe { avx2::dots(x, weights, out) },
        _ => weights.chunks_exact(x.len()).zip(out).for_each(|(weights, out)| *out = dot_at(level, x, weights)),
    }
}

/// One part's outputs, row after row.
fn by_inputs(level: Level, x: &[f32], weight: &[f32], inputs: usize, y: &mut [&mut [f32]]) {
    for (first, weight) in (0..).step_by(WEIGHTS).zip(weight.chunks(WEIGHTS * inputs)) {
        for (x, y) in x.chunks_exact(inputs).zip(y.iter_mut()) {
            let count = weight.len() / inputs;
            let y = &mut y[first..][..count];
            match count {
                WEIGHTS => {
                    let mut sums = [0.0; WEIGHTS];
                    dots(level, x, weight, &mut sums);
                    y.copy_from_slice(&sums);
                }
                _ => weight.chunks_exact(inputs).zip(y).for_each(|(weight, y)| *y = dot_at(level, x, weight)),
            }
        }
    }
}

/// `sums += x · weights`, lane by lane.
#[inline(always)]
fn add<M: MulAdd>(sums: &mut [f32; LANES], x: &[f32; LANES], weights: &[f32; LANES]) {
    for lane in 0..LANES {
        sums[lane] = M::mul_add(x[lane], weights[lane], sums[lane]);
    }
}

vectorised! {
    fn dot_at<M>(x: &[f32], weight: &[f32]) -> f32 {
        let mut sums = [0.0f32; LANES];
        let ((blocks, rest), (weights, tail)) = (x.as_chunks::<LANES>(), weight.as_chunks::<LANES>());
        for (x, weight) in blocks.iter().zip(weights) {
            add::<M>(&mut sums, x, weight);
        }
        total(sums) + rest.iter().zip(tail).fold(0.0, |sum, (x, weight)| M::mul_add(*x, *weight, sum))
    }
}

#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests;
