//! Many outputs that see the same channels: a product of matrices, whose columns are places.

use super::{Convolution, Finish, Part, Source};
use crate::tile::{HALF, LANES, ROWS, Sums, tile};

/// Maps up to this size are read as they lie: their columns are near each other.
const SMALL: usize = 256;
/// Values of columns that are used over and over: they must stay in the second cache.
const RESIDENT: usize = 48 << 10;

/// Planes and places of a part, for about `wanted` parts of an image: all of a group's planes, so that columns are
/// gathered once, or some planes of a small map.
pub(super) fn share(shape: &Convolution, wanted: usize) -> (usize, usize) {
    let places = shape.output_size().iter().product::<usize>();
    if shape.groups == 1 && shape.pointwise() && (LANES..=SMALL).contains(&places) {
        return (shape.outputs.div_ceil(wanted).next_multiple_of(ROWS), places);
    }
    let panels = places.div_ceil(LANES);
    (shape.group(), panels.div_ceil(wanted.div_ceil(shape.groups)) * LANES)
}

/// 16 places side by side, or 8.
struct Panel<'a> {
    narrow: bool,
    x: &'a [f32],
    /// From one row of the matrix to the next.
    stride: usize,
    /// Its first place within the part, and how many count.
    first: usize,
    count: usize,
}

/// Computes a part, whose planes are of one group.
pub(super) fn run(source: &Source, part: &mut Part) {
    let shape = &source.shape;
    let (depth, group) = (shape.depth(), part.output / shape.group());
    let planes = source.planes(part.image, group);
    let places = part.y[0].len();
    let direct = shape.pointwise() && (LANES..=SMALL).contains(&places);
    let resident = (RESIDENT / (depth * LANES)).max(1) * LANES;
    let mut gathered = Vec::new();
    for block in (0..places).step_by(resident) {
        let end = places.min(block + resident);
        let panels: Vec<Panel> = match direct {
            true => in_place(shape, planes, part.place, places, block..end),
            false => {
                // The last panel of a block may be narrow.
                gathered.resize((end - block).next_multiple_of(HALF) * depth, 0.0);
                let mut rest = &mut gathered[..];
                let mut panels = Vec::new();
                for first in (block..end).step_by(LANES) {
                    let count = LANES.min(end - first);
                    let stride = if count <= HALF { HALF } else { LANES };
                    let (panel, after) = rest.split_at_mut(stride * depth);
                    rest = after;
                    gather(shape, planes, part.place + first..part.place + first + count, stride, panel);
                    panels.push(Panel { narrow: stride == HALF, x: panel, stride, first, count });
                }
                panels
            }
        };
        multiply(source, part, &panels);
    }
}

/// The columns of a 1x1 kernel where they lie. The last ones overlap those before them where they do not fill a panel.
fn in_place<'a>(
    shape: &Convolution,
    planes: &'a [f32],
    start: usize,
    places: usize,
    block: std::ops::Range<usize>,
) -> Vec<Panel<'a>> {
    let stride = shape.size[0] * shape.size[1];
    let panel = |first: usize| {
        let rest = block.end - first;
        let (count, narrow) = if rest <= HALF { (HALF, true) } else { (LANES, false) };
        let first = first.min(places - count);
        Panel { narrow, x: &planes[start + first..], stride, first, count }
    };
    block.clone().step_by(LANES).map(panel).collect()
}

/// What each place sees, `[channels, rows, columns]` of `stride` places.
fn gather(shape: &Convolution, planes: &[f32], places: std::ops::Range<usize>, stride: usize, panel: &mut [f32]) {
    let [height, width] = shape.size;
    let planes = planes.chunks_exact(height * width);
    if shape.pointwise() {
        for (row, plane) in panel.chunks_exact_mut(stride).zip(planes) {
            row[..places.len()].copy_from_slice(&plane[places.clone()]);
        }
        return;
    }
    let [_, columns] = shape.output_size();
    // Each place's first row and column in the padded input.
    let mut corners = [(0, 0); LANES];
    for (corner, place) in corners.iter_mut().zip(places.clone()) {
        *corner = (place / columns * shape.stride[0], place % columns * shape.stride[1]);
    }
    let corners = &corners[..places.len()];
    let mut rows = panel.chunks_exact_mut(stride);
    for plane in planes {
        for down in 0..shape.kernel[0] {
            for (right, row) in (0..shape.kernel[1]).zip(&mut rows) {
                for (value, (top, left)) in row.iter_mut().zip(corners) {
                    // What is before the input wraps round to far behind it.
                    let (y, x) = (
                        (top + down).wrapping_sub(shape.padding[0][0]),
                        (left + right).wrapping_sub(shape.padding[1][0]),
                    );
                    *value = if y < height && x < width { plane[y * width + x] } else { 0.0 };
                }
            }
        }
    }
}

/// All outputs of the part at the places of the panels.
fn multiply(source: &Source, part: &mut Part, panels: &[Panel]) {
    let depth = source.shape.depth();
    let weight = &source.weight[part.output * depth..][..part.y.len() * depth];
    for (nth, (weight, y)) in weight.chunks(ROWS * depth).zip(part.y.chunks_mut(ROWS)).enumerate() {
        // The last tile may have fewer rows: the missing ones are computed twice, and dropped.
        let row = |row: usize| row.min(y.len() - 1);
        let rows: [&[f32]; ROWS] = std::array::from_fn(|at| &weight[row(at) * depth..][..depth]);
        let finishes: [Finish; ROWS] = std::array::from_fn(|at| source.finishes.of(part.output + nth * ROWS + row(at)));
        for panel in panels {
            let mut sums = [[0.0; LANES]; ROWS];
            tile(source.level, panel.narrow, panel.x, panel.stride, &rows, &mut sums);
            finish_at(source.level, &mut sums, &finishes);
            for (y, sums) in y.iter_mut().zip(&sums) {
                let y = &mut y[panel.first..][..panel.count];
                match y.as_mut_array::<LANES>() {
                    Some(y) => *y = *sums,
                    None => y.copy_from_slice(&sums[..panel.count]),
                }
            }
        }
    }
}

vectorised! {
    fn finish_at<M>(sums: &mut Sums, finishes: &[Finish; 6]) {
        for (sums, finish) in sums.iter_mut().zip(finishes) {
            let [scale, shift, least, most] = *finish;
            for sum in sums {
                let y = M::mul_add(*sum, scale, shift);
                // NaN stays NaN: every comparison with it is false.
                let y = if y < least { least } else { y };
                *sum = if y > most { most } else { y };
            }
        }
    }
}
