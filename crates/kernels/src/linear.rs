//! Linear layers with f32 weights in the layout of checkpoints, `[outputs, inputs]`, which are read where they lie.
//!
//! With many rows, 16 of them are the lanes of vectors: only the activations are brought into another order, and each
//! weight is read once for them and multiplied with all 16. With few, as in decoding, a vector holds a part of one
//! row of weights, and memory sets the pace.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod backward;
mod few;
mod multiply;

use crate::level::{Level, level};
use crate::team;
use crate::tile::{HALF, LANES, ROWS as OUTPUTS, tile};

pub use backward::{add_linear_backward_input, linear_backward_input, linear_backward_weight};
use multiply::{Second, multiply};

/// Up to so many rows of activations, vectors run along the inputs.
const FEW: usize = 8;
/// Rows of weights that a row of activations is multiplied with at once when vectors run along the inputs.
const WEIGHTS: usize = 4;
/// Values of activations that are used over and over: they must stay in the second cache.
const RESIDENT: usize = 48 << 10;
/// Inputs that are brought into another order at once.
const PACKED: usize = 64;
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
    linear_many(x, inputs, &mut [(weight, y)]);
}

/// [`linear`] of one input with several weights, such as queries, keys and values, or gate and up: with few rows the
/// work of all is handed over at once.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_many(x: &[f32], inputs: usize, products: &mut [(&[f32], &mut [f32])]) {
    linear_at(level(), x, inputs, products);
}

/// `y += x · Wᵀ`, for a weight that is small beside `x`.
///
/// # Shapes
///
/// - as [`linear`]
///
/// # Panics
///
/// If the lengths do not fit each other.
pub fn add_linear(x: &[f32], weight: &[f32], inputs: usize, y: &mut [f32]) {
    let outputs = weight.len() / inputs.max(1);
    multiply(level(), x, Second::Columns(weight), [inputs, outputs], y, true);
}

fn linear_at(level: Level, x: &[f32], inputs: usize, products: &mut [(&[f32], &mut [f32])]) {
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    for (weight, y) in products.iter_mut() {
        if inputs == 0 {
            assert!(x.is_empty() && weight.is_empty(), "values without inputs");
            y.fill(0.0);
            continue;
        }
        let outputs = weight.len() / inputs;
        assert!(x.len() == rows * inputs && weight.len() == outputs * inputs, "rows of {inputs} inputs");
        assert_eq!(y.len(), rows * outputs, "{rows} rows of {outputs} outputs");
    }
    match rows {
        0 => {}
        1..=FEW => few::products(level, x, inputs, products),
        _ => many(level, x, inputs, products),
    }
}

/// The products of many rows, which are brought into another order once for all weights.
fn many(level: Level, x: &[f32], inputs: usize, products: &mut [(&[f32], &mut [f32])]) {
    let rows = x.len() / inputs;
    let mut panelled = Vec::with_capacity(products.len());
    for (weight, y) in products.iter_mut().filter(|(_, y)| !y.is_empty()) {
        let outputs = weight.len() / inputs;
        match 2 * weight.len() < rows * (inputs + outputs) {
            // Less work than to bring both `x` and `y` into another order.
            true => multiply(level, x, Second::Columns(weight), [inputs, outputs], y, false),
            false => panelled.push((*weight, &mut **y, outputs)),
        }
    }
    let outputs: usize = panelled.iter().map(|(_, _, outputs)| outputs).sum();
    if outputs == 0 {
        return;
    }
    let parts = if rows * inputs * outputs < WORTH_A_THREAD { 1 } else { 4 * rayon::current_num_threads() };
    let share = outputs.div_ceil(parts).next_multiple_of(OUTPUTS);
    // Each part gets its own columns of all rows of an output.
    let mut work: Vec<(Vec<&mut [f32]>, &[f32])> = Vec::new();
    for (weight, y, outputs) in panelled {
        let first = work.len();
        work.extend(weight.chunks(share * inputs).map(|weight| (Vec::with_capacity(rows), weight)));
        for row in y.chunks_exact_mut(outputs) {
            row.chunks_mut(share).zip(&mut work[first..]).for_each(|(part, (columns, _))| columns.push(part));
        }
    }
    let panels = pack(x, inputs, parts > 1);
    let run = |(y, weight): &mut (Vec<&mut [f32]>, &[f32])| by_rows(level, &panels, weight, inputs, y);
    match work.len() {
        1 => work.iter_mut().for_each(run),
        _ => team::for_each(work.iter_mut(), |_, part| run(part)),
    }
}

/// The activations as panels, `[rows / 16, inputs, 16]`; up to 8 rows that remain make a narrow one,
/// `[inputs, 8]`. Missing rows are 0.
fn pack(x: &[f32], inputs: usize, threads: bool) -> Vec<f32> {
    let rows = x.len() / inputs;
    let mut panels = vec![0.0; rows.next_multiple_of(HALF) * inputs];
    let fill = |(panel, x): (&mut [f32], &[f32])| {
        let width = panel.len() / inputs;
        // A part of the panel stays in the first cache until every row has written to it.
        for (panel, first) in panel.chunks_mut(PACKED * width).zip((0..).step_by(PACKED)) {
            for (lane, x) in x.chunks_exact(inputs).enumerate() {
                panel.chunks_exact_mut(width).zip(&x[first..]).for_each(|(panel, x)| panel[lane] = *x);
            }
        }
    };
    let share = LANES * inputs;
    match threads {
        true => team::for_each(panels.chunks_mut(share).zip(x.chunks(share)), |_, panel| fill(panel)),
        false => panels.chunks_mut(share).zip(x.chunks(share)).for_each(fill),
    }
    panels
}

/// One part's outputs, 16 rows in the lanes.
fn by_rows(level: Level, panels: &[f32], weight: &[f32], inputs: usize, y: &mut [&mut [f32]]) {
    let panel = inputs * LANES;
    // In blocks of like size: a last one of few panels would read all weights for little.
    let count = panels.len().div_ceil(panel);
    let resident = count.div_ceil(count.div_ceil((RESIDENT / panel).max(1)));
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

#[cfg(test)]
mod tests;
