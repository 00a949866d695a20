//! Products whose second factor is brought into another order: 16 of its columns are the lanes of vectors, and six rows
//! of the first are multiplied with them at once, where they lie.
//!
//! This is the other way round than in [`linear`](super::linear), where rows are the lanes and weights stay where they
//! lie: better where the weights are few beside the rows, and for gradients, whose factors lie in the other order.

use super::{LANES, OUTPUTS, RESIDENT, WORTH_A_THREAD};
use crate::level::Level;
use crate::team;
use crate::tile::tile;

/// Most products that are summed in one go: a panel of so many values must stay in the second cache with others.
const DEPTH: usize = 1024;
/// Fewest rows of a task: for each, its part of the second factor is copied once.
const ROWS: usize = 8 * OUTPUTS;

/// Values of 16 columns at one row.
type Panel = [f32; LANES];

/// The second factor of a product, by the order in which it lies.
#[derive(Clone, Copy)]
pub(super) enum Second<'a> {
    /// `[depth, width]`
    Rows(&'a [f32]),
    /// `[width, depth]`
    Columns(&'a [f32]),
}

/// `out = a · b`, or `out += a · b`.
///
/// # Shapes
///
/// - `a`: `[rows, depth]`, `b`: `depth` rows of `width` values, `out`: `[rows, width]`
pub(super) fn multiply(level: Level, a: &[f32], b: Second, [depth, width]: [usize; 2], out: &mut [f32], add: bool) {
    let rows = out.len() / width.max(1);
    assert!(out.len() == rows * width && a.len() == rows * depth, "{rows} rows of {depth} and {width} values");
    let (Second::Rows(values) | Second::Columns(values)) = b;
    assert_eq!(values.len(), depth * width, "{depth} rows of {width} values");
    if out.is_empty() || depth == 0 {
        return out.iter_mut().filter(|_| !add).for_each(|out| *out = 0.0);
    }
    let wanted = if rows * values.len() < WORTH_A_THREAD { 1 } else { 4 * rayon::current_num_threads() };
    let columns = width.div_ceil(wanted).next_multiple_of(LANES);
    let bands = wanted.div_ceil(width.div_ceil(columns)).min(rows.div_ceil(ROWS));
    let band = rows.div_ceil(bands).next_multiple_of(OUTPUTS);
    // Each task gets its own columns of its own rows of the output.
    let parts = width.div_ceil(columns);
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(rows.div_ceil(band) * parts, || Vec::with_capacity(band));
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let tasks = &mut tasks[row / band * parts..][..parts];
        out.chunks_mut(columns).zip(tasks).for_each(|(out, task)| task.push(out));
    }
    let run = |task: usize, out: Vec<&mut [f32]>| {
        let a = &a[task / parts * band * depth..][..out.len() * depth];
        multiply_part(level, a, b, [depth, width], task % parts * columns, out, add);
    };
    match tasks.len() {
        1 => tasks.into_iter().for_each(|out| run(0, out)),
        _ => team::for_each(tasks.into_iter(), run),
    }
}

/// The columns from `begin` on, as many as each of `out` has, for the rows of `a`.
fn multiply_part(
    level: Level,
    a: &[f32],
    b: Second,
    [depth, width]: [usize; 2],
    begin: usize,
    mut out: Vec<&mut [f32]>,
    add: bool,
) {
    let columns = out.first().map_or(0, |out| out.len());
    let at_once = (RESIDENT / (depth.min(DEPTH) * LANES)).max(1) * LANES;
    let mut panels: Vec<Panel> = Vec::new();
    for first in (0..depth).step_by(DEPTH) {
        let count = DEPTH.min(depth - first);
        for start in (0..columns).step_by(at_once) {
            let end = (start + at_once).min(columns);
            let size = [count, end - start];
            panels.resize((end - start).div_ceil(LANES) * count, [0.0; LANES]);
            match b {
                Second::Rows(b) => pack_rows(&b[first * width + begin + start..], width, size, &mut panels),
                Second::Columns(b) => pack_columns(&b[(begin + start) * depth + first..], depth, size, &mut panels),
            }
            for (nth, out) in out.chunks_mut(OUTPUTS).enumerate() {
                // The last tile may have fewer rows: the missing ones are computed twice, and dropped.
                let row = |row: usize| {
                    let row = nth * OUTPUTS + row.min(out.len() - 1);
                    &a[row * depth + first..][..count]
                };
                let rows: [&[f32]; OUTPUTS] = std::array::from_fn(row);
                for (panel, start) in panels.chunks_exact(count).zip((start..end).step_by(LANES)) {
                    let mut sums = [[0.0; LANES]; OUTPUTS];
                    tile(level, false, panel.as_flattened(), LANES, &rows, &mut sums);
                    for (out, sums) in out.iter_mut().zip(&sums) {
                        let out = &mut out[start..end.min(start + LANES)];
                        match first == 0 && !add {
                            true => out.copy_from_slice(&sums[..out.len()]),
                            false => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
                        }
                    }
                }
            }
        }
    }
}

/// `columns` columns of `count` rows of `b`, `width` apart, as panels, `[columns / 16, count]`. What is in the lanes of
/// missing columns does not matter.
fn pack_rows(b: &[f32], width: usize, [count, columns]: [usize; 2], panels: &mut [Panel]) {
    for (at, b) in b.chunks(width).take(count).enumerate() {
        let (whole, rest) = b[..columns].as_chunks::<LANES>();
        for (nth, values) in whole.iter().enumerate() {
            panels[nth * count + at] = *values;
        }
        if !rest.is_empty() {
            panels[whole.len() * count + at][..rest.len()].copy_from_slice(rest);
        }
    }
}

/// The same of columns that lie in one piece each, `depth` apart.
fn pack_columns(b: &[f32], depth: usize, [count, columns]: [usize; 2], panels: &mut [Panel]) {
    for (nth, panel) in panels.chunks_exact_mut(count).enumerate() {
        let lanes = LANES.min(columns - nth * LANES);
        for (block, panel) in panel.chunks_mut(LANES).enumerate() {
            for lane in 0..lanes {
                let column = &b[(nth * LANES + lane) * depth + block * LANES..][..panel.len()];
                panel.iter_mut().zip(column).for_each(|(panel, value)| panel[lane] = *value);
            }
        }
    }
}
