//! Convolutions over `[batch, channels, height, width]`, with what follows them: scale, shift and cut.
//!
//! Where many outputs see the same channels, they are a product of matrices, with the places as columns (`mixed`): 1x1
//! kernels read the input as it lies or with its columns side by side, all others gather what each place sees. Where
//! few do, as in depthwise layers, vectors run along an output's rows (`separate`).

#[cfg(target_arch = "x86_64")]
mod avx2;
mod mixed;
mod separate;

use crate::level::{Level, level};
use crate::team;

/// From so many outputs of a group on, its places are columns of a matrix.
const MANY: usize = 16;
/// Multiplications that are worth waking a thread for, some tens of microseconds.
const WORTH_A_THREAD: usize = 1 << 18;

/// The sizes of a convolution; each pair is of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Channels of the output.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one place of the kernel to the next.
    pub stride: [usize; 2],
    /// Rows of zeros above and below the input, columns of zeros left and right of it.
    pub padding: [[usize; 2]; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Convolution {
    /// Height and width of the output; 0 where the kernel is larger than what it moves over.
    pub fn output_size(&self) -> [usize; 2] {
        std::array::from_fn(|side| {
            let padded = self.size[side] + self.padding[side][0] + self.padding[side][1];
            (padded + self.stride[side]).saturating_sub(self.kernel[side]) / self.stride[side]
        })
    }

    /// Channels that an output sees.
    fn seen(&self) -> usize {
        self.channels / self.groups
    }

    /// Outputs that see the same channels.
    fn group(&self) -> usize {
        self.outputs / self.groups
    }

    /// Weights of an output.
    fn depth(&self) -> usize {
        self.seen() * self.kernel[0] * self.kernel[1]
    }

    /// Whether each place sees itself only.
    fn pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [[0, 0]; 2]
    }
}

/// What follows a convolution: `clamp(x · scale + shift, least, most)`, as of a batch norm with fixed statistics and
/// the activation behind it.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `[outputs]`; none is 1 everywhere.
    pub scale: Option<&'a [f32]>,
    /// `[outputs]`: a bias, where there is no scale.
    pub shift: &'a [f32],
    /// The least and the most that a value may be.
    pub cut: Option<[f32; 2]>,
}

/// Scale, shift, least and most of one output.
type Finish = [f32; 4];

/// What becomes of each output's sums.
#[derive(Clone, Copy)]
struct Finishes<'a>(Option<Affine<'a>>);

impl Finishes<'_> {
    fn of(&self, output: usize) -> Finish {
        let everything = [f32::NEG_INFINITY, f32::INFINITY];
        let (scale, shift, [least, most]) = match self.0 {
            None => (1.0, 0.0, everything),
            Some(affine) => (
                affine.scale.map_or(1.0, |scale| scale[output]),
                affine.shift[output],
                affine.cut.unwrap_or(everything),
            ),
        };
        [scale, shift, least, most]
    }
}

/// A part of the output: the same run of places of some neighbouring planes of one image.
struct Part<'y> {
    image: usize,
    /// The first plane's output.
    output: usize,
    /// The first place.
    place: usize,
    /// The places of each plane.
    y: Vec<&'y mut [f32]>,
}

/// Cuts the output into parts of up to `planes` planes and `run` places; no part has planes of two images.
fn parts<'y>(y: &'y mut [f32], outputs: usize, places: usize, planes: usize, run: usize) -> Vec<Part<'y>> {
    let mut parts = Vec::new();
    for (image, y) in y.chunks_mut(outputs * places).enumerate() {
        for (nth, y) in y.chunks_mut(planes * places).enumerate() {
            let first = parts.len();
            let count = y.len() / places;
            let part = |place| Part { image, output: nth * planes, place, y: Vec::with_capacity(count) };
            parts.extend((0..places).step_by(run).map(part));
            for plane in y.chunks_mut(places) {
                plane.chunks_mut(run).zip(&mut parts[first..]).for_each(|(y, part)| part.y.push(y));
            }
        }
    }
    parts
}

/// Everything that a part is computed from.
struct Source<'a> {
    level: Level,
    shape: Convolution,
    x: &'a [f32],
    weight: &'a [f32],
    finishes: Finishes<'a>,
}

/// `y = affine(x ∗ weight)`, a cross-correlation as PyTorch's `conv2d`.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`, `weight`: `[outputs, channels / groups, rows, columns]`
/// - `y`: `[batch, outputs, height, width]` with the sides of [`output_size`](Convolution::output_size), overwritten
///
/// NaN stays NaN also where it is cut. Zeros of the padding are multiplied like values: an infinite weight makes NaN of
/// them.
///
/// # Panics
///
/// If the groups do not divide the channels and the outputs, a stride is 0, or the lengths do not fit the shape.
pub fn convolve(shape: &Convolution, x: &[f32], weight: &[f32], affine: Option<Affine>, y: &mut [f32]) {
    convolve_at(level(), shape, x, weight, affine, y);
}

fn convolve_at(level: Level, shape: &Convolution, x: &[f32], weight: &[f32], affine: Option<Affine>, y: &mut [f32]) {
    let Convolution { batch, channels, size, outputs, stride, groups, .. } = *shape;
    assert!(stride[0] > 0 && stride[1] > 0, "a stride of 0 leads nowhere");
    let divide = groups > 0 && channels.is_multiple_of(groups) && outputs.is_multiple_of(groups);
    assert!(divide, "{groups} groups do not divide {channels} channels and {outputs} outputs");
    let [height, width] = shape.output_size();
    let places = height * width;
    assert_eq!(x.len(), batch * channels * size[0] * size[1], "the input's values for {shape:?}");
    assert_eq!(weight.len(), outputs * shape.depth(), "the weights for {shape:?}");
    assert_eq!(y.len(), batch * outputs * places, "the output's values for {shape:?}");
    if let Some(affine) = affine {
        assert!(affine.scale.is_none_or(|scale| scale.len() == outputs), "{outputs} outputs need as many scales");
        assert_eq!(affine.shift.len(), outputs, "{outputs} outputs need as many shifts");
    }
    if y.is_empty() {
        return;
    }
    let source = Source { level, shape: *shape, x, weight, finishes: Finishes(affine) };
    if shape.depth() == 0 {
        return source.without_weights(y);
    }
    let mixed = shape.group() >= MANY;
    let threads = rayon::current_num_threads();
    let wanted = if threads == 1 || y.len() * shape.depth() < WORTH_A_THREAD { 1 } else { threads * 4 };
    let (planes, run) = match mixed {
        true => mixed::share(shape, wanted.div_ceil(batch)),
        false => separate::share(shape, wanted.div_ceil(batch)),
    };
    let mut parts = parts(y, outputs, places, planes, run);
    let run = |part: &mut Part| match mixed {
        true => mixed::run(&source, part),
        false => separate::run(&source, part),
    };
    match wanted {
        1 => parts.iter_mut().for_each(run),
        _ => team::for_each(parts.iter_mut(), |_, part| run(part)),
    }
}

impl Source<'_> {
    /// What is left where no output sees a channel: zeros, shifted and cut.
    fn without_weights(&self, y: &mut [f32]) {
        let places = self.shape.output_size().iter().product();
        for (nth, y) in y.chunks_mut(places).enumerate() {
            let [_, shift, least, most] = self.finishes.of(nth % self.shape.outputs);
            let shift = if shift < least { least } else { shift };
            y.fill(if shift > most { most } else { shift });
        }
    }

    /// The input's planes that a group of an image sees, one after the other.
    fn planes(&self, image: usize, group: usize) -> &[f32] {
        let seen = self.shape.seen() * self.shape.size[0] * self.shape.size[1];
        &self.x[(image * self.shape.groups + group) * seen..][..seen]
    }
}

#[cfg(test)]
mod tests;
