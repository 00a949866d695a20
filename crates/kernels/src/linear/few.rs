//! A few rows of activations: each weight comes from memory once, and memory sets the pace.

use std::ops::Range;

use super::WEIGHTS;
use crate::level::{Level, MulAdd};
use crate::output::{Output, Parts};
use crate::team;

/// Multiplications that are worth another thread: several microseconds.
const WORTH_A_THREAD: usize = 1 << 16;
/// Multiplications of one part of the work, at least.
const PART: usize = 1 << 14;
/// Parts for each thread, where there is enough work: a thread that is held up leaves the rest to the others.
const PARTS: usize = 4;
/// Sums that are kept side by side.
const LANES: usize = 16;

/// One weight's product.
struct Product<'a> {
    weight: &'a [f32],
    y: Output,
}

/// `x` times each of the weights, which are whole rows of `inputs` values, as `x` is.
pub(super) fn products(level: Level, x: &[f32], inputs: usize, products: &mut [(&[f32], &mut [f32])]) {
    let outputs: Vec<usize> = products.iter().map(|(weight, _)| weight.len() / inputs).collect();
    let products: Vec<Product> = products
        .iter_mut()
        .zip(&outputs)
        .map(|((weight, y), outputs)| Product { weight, y: Output::new(y, *outputs) })
        .collect();
    let work = |at: usize, outputs: Range<usize>| {
        let Product { weight, y } = &products[at];
        by_inputs(level, x, inputs, weight, outputs, *y);
    };
    let total = outputs.iter().sum::<usize>() * x.len();
    if total < WORTH_A_THREAD {
        return outputs.iter().enumerate().for_each(|(at, outputs)| work(at, 0..*outputs));
    }
    let parts = Parts::new(&outputs, (total / PART).min(PARTS * rayon::current_num_threads()));
    team::share(parts.count(), |part| parts.each(part, work));
}

/// Some outputs for all rows of `x`.
///
/// [`WEIGHTS`] rows of weights are taken at once, from as many places far from one another: memory is read faster in
/// several long runs than in one.
fn by_inputs(level: Level, x: &[f32], inputs: usize, weight: &[f32], outputs: Range<usize>, y: Output) {
    let run = outputs.len() / WEIGHTS;
    let row = |output: usize| &weight[output * inputs..][..inputs];
    for first in outputs.start..outputs.start + run {
        let rows: [&[f32]; WEIGHTS] = std::array::from_fn(|nth| row(first + nth * run));
        for (at, x) in x.chunks_exact(inputs).enumerate() {
            let mut sums = [0.0; WEIGHTS];
            dots(level, x, &rows, &mut sums);
            for (nth, sum) in sums.into_iter().enumerate() {
                // SAFETY: the slices are borrowed until all parts are done, and no other part has these outputs.
                unsafe { y.write(at, first + nth * run, sum) };
            }
        }
    }
    for output in outputs.start + WEIGHTS * run..outputs.end {
        for (at, x) in x.chunks_exact(inputs).enumerate() {
            // SAFETY: as above.
            unsafe { y.write(at, output, dot_at(level, x, row(output))) };
        }
    }
}

/// The products of one row with some rows of weights.
fn dots(level: Level, x: &[f32], weights: &[&[f32]; WEIGHTS], out: &mut [f32; WEIGHTS]) {
    match level {
        // SAFETY: a level is only taken after its features have been found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => unsafe { super::avx2::dots(x, weights, out) },
        _ => weights.iter().zip(out).for_each(|(weights, out)| *out = dot_at(level, x, weights)),
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
