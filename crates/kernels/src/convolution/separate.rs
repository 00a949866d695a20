//! Few outputs that see the same channels, as in depthwise layers: vectors run along an output's rows.
//!
//! The channels that an output sees are copied between zeros, the columns that follow each other at the kernel's stride
//! side by side. Then each weight is multiplied with eight neighbouring places of seven rows at once, whatever the
//! kernel and the stride are. Seven rows are a whole number of times in all maps of a 224-pixel image.

use super::{Convolution, Finish, Part, Source};
use crate::level::Level;

/// Rows of the output that are summed at once.
pub(super) const ROWS: usize = 7;
/// Places of a row that are summed at once.
pub(super) const LANES: usize = 8;

/// Planes and places of a part, for about `wanted` parts of an image: whole groups, or rows of one.
pub(super) fn share(shape: &Convolution, wanted: usize) -> (usize, usize) {
    let [height, width] = shape.output_size();
    let rows = height.div_ceil(wanted.div_ceil(shape.groups)).next_multiple_of(ROWS);
    (shape.group() * shape.groups.div_ceil(wanted), rows * width)
}

/// Channels between zeros, as far as a part sees them.
struct Padded {
    x: Vec<f32>,
    /// Columns of a row that lie side by side, one after the other at the kernel's stride.
    phase: usize,
    /// From one row to the next, and from one channel to the next.
    row: usize,
    channel: usize,
}

/// Where the values that each weight is multiplied with begin, counted from a place's first.
pub(super) struct Taps {
    offsets: Vec<usize>,
    /// The greatest of them.
    reach: usize,
    /// From one row of places to the next.
    row: usize,
}

impl Taps {
    pub(super) fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// From one row of places to the next.
    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// How many values a block of [`ROWS`] rows of [`LANES`] places needs from its first on.
    pub(super) fn needs(&self) -> usize {
        self.reach + (ROWS - 1) * self.row + LANES
    }
}

impl Padded {
    /// Zeros for `rows` rows of `columns` places.
    fn new(shape: &Convolution, rows: usize, columns: usize) -> Self {
        let phase = columns.max(LANES) + (shape.kernel[1] - 1) / shape.stride[1];
        let row = phase * shape.stride[1];
        let channel = row * ((rows.max(ROWS) - 1) * shape.stride[0] + shape.kernel[0]);
        Self { x: vec![0.0; shape.seen() * channel], phase, row, channel }
    }

    fn taps(&self, shape: &Convolution) -> Taps {
        let stride = shape.stride[1];
        let mut offsets = Vec::with_capacity(shape.depth());
        for channel in 0..shape.seen() {
            for down in 0..shape.kernel[0] {
                let row = channel * self.channel + down * self.row;
                offsets.extend((0..shape.kernel[1]).map(|right| row + right % stride * self.phase + right / stride));
            }
        }
        let reach = offsets.iter().copied().max().unwrap_or(0);
        Taps { offsets, reach, row: shape.stride[0] * self.row }
    }

    /// Copies the channels' rows from the padded input's row `top` on; the zeros around them stay.
    fn fill(&mut self, shape: &Convolution, planes: &[f32], top: usize) {
        let ([height, width], stride) = (shape.size, shape.stride[1]);
        let [[above, _], [left, _]] = shape.padding;
        for (padded, plane) in self.x.chunks_exact_mut(self.channel).zip(planes.chunks_exact(height * width)) {
            for (at, row) in padded.chunks_exact_mut(self.row).enumerate() {
                // What is before the input wraps round to far behind it.
                let y = (top + at).wrapping_sub(above);
                if y >= height {
                    continue;
                }
                let x = &plane[y * width..][..width];
                for (phase, row) in row.chunks_exact_mut(self.phase).enumerate() {
                    // The first column of this phase that the input has.
                    let first = left.saturating_sub(phase).div_ceil(stride);
                    let column = first * stride + phase - left;
                    if let (Some(to), Some(from)) = (row.get_mut(first..), x.get(column..)) {
                        every(stride, from, to);
                    }
                }
            }
        }
    }
}

/// Copies every `stride`th value, as many as there are and have room.
fn every(stride: usize, from: &[f32], to: &mut [f32]) {
    match stride {
        1 => {
            let count = from.len().min(to.len());
            to[..count].copy_from_slice(&from[..count]);
        }
        2 => {
            let (pairs, last) = from.as_chunks::<2>();
            to.iter_mut().zip(pairs).for_each(|(to, from)| *to = from[0]);
            to.iter_mut().skip(pairs.len()).zip(last).for_each(|(to, from)| *to = *from);
        }
        _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
    }
}

/// Computes a part, whose planes are those of whole groups, in whole rows.
pub(super) fn run(source: &Source, part: &mut Part) {
    let shape = &source.shape;
    let [_, columns] = shape.output_size();
    let rows = part.y[0].len() / columns;
    let mut padded = Padded::new(shape, rows, columns);
    let taps = padded.taps(shape);
    // Blocks that reach beyond a map end here.
    let small = rows < ROWS || columns < LANES;
    let mut whole = vec![0.0; if small { rows.max(ROWS) * columns + LANES } else { 0 }];
    for (nth, planes) in part.y.chunks_mut(shape.group()).enumerate() {
        let output = part.output + nth * shape.group();
        let top = part.place / columns * shape.stride[0];
        padded.fill(shape, source.planes(part.image, output / shape.group()), top);
        for (output, y) in (output..).zip(planes) {
            let weights = &source.weight[output * shape.depth()..][..shape.depth()];
            let finish = source.finishes.of(output);
            match small {
                true => {
                    plane(source.level, &padded.x, &taps, weights, finish, [rows, columns], &mut whole);
                    y.copy_from_slice(&whole[..y.len()]);
                }
                false => plane(source.level, &padded.x, &taps, weights, finish, [rows, columns], y),
            }
        }
    }
}

/// One output's places. Blocks that the map is not a whole number of begin earlier, and compute some places twice.
fn plane(
    level: Level,
    x: &[f32],
    taps: &Taps,
    weights: &[f32],
    finish: Finish,
    [rows, columns]: [usize; 2],
    y: &mut [f32],
) {
    for row in (0..rows).step_by(ROWS) {
        let row = row.min(rows.saturating_sub(ROWS));
        for column in (0..columns).step_by(LANES) {
            let column = column.min(columns.saturating_sub(LANES));
            block(
                level,
                &x[row * taps.row() + column..],
                taps,
                weights,
                finish,
                columns,
                &mut y[row * columns + column..],
            );
        }
    }
}

/// Seven rows of eight places; `y` has `columns` values from one row to the next.
fn block(level: Level, x: &[f32], taps: &Taps, weights: &[f32], finish: Finish, columns: usize, y: &mut [f32]) {
    assert_eq!(weights.len(), taps.offsets().len(), "a weight for each tap");
    assert!(x.len() >= taps.needs(), "all that the taps reach");
    assert!(y.len() >= (ROWS - 1) * columns + LANES, "room for a block");
    match level {
        // SAFETY: a level is only taken after its features have been found; the lengths have been checked.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => unsafe { super::avx2::block(x, taps, weights, finish, columns, y) },
        _ => block_at(level, x, taps.offsets(), taps.row(), weights, finish, columns, y),
    }
}

vectorised! {
    fn block_at<M>(
        x: &[f32],
        offsets: &[usize],
        row: usize,
        weights: &[f32],
        finish: [f32; 4],
        columns: usize,
        y: &mut [f32],
    ) {
        let mut sums = [[0.0f32; LANES]; ROWS];
        for (offset, weight) in offsets.iter().zip(weights) {
            for (nth, sums) in sums.iter_mut().enumerate() {
                let x = &x[offset + nth * row..][..LANES];
                for lane in 0..LANES {
                    sums[lane] = M::mul_add(x[lane], *weight, sums[lane]);
                }
            }
        }
        let [scale, shift, least, most] = finish;
        for (nth, sums) in sums.iter().enumerate() {
            let y = &mut y[nth * columns..][..LANES];
            for lane in 0..LANES {
                let value = M::mul_add(sums[lane], scale, shift);
                // NaN stays NaN: every comparison with it is false.
                let value = if value < least { least } else { value };
                y[lane] = if value > most { most } else { value };
            }
        }
    }
}
