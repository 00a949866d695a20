//! `x · Wᵀ` for weights in their stored form.

use std::ops::Range;

use super::activations::Activations;
use super::{BlockFormat, QuantizedMatrix, portable};
use crate::level::{Level, level};
use crate::output::{Output, Parts};
use crate::team;

/// Multiplications that are worth another thread: one hand-over takes as long as about this many.
const THREADED: usize = 100_000;
/// Multiplications of one part of the work, at least.
const PART: usize = 1 << 16;
/// Parts for each thread, where there is enough work: a thread that is held up leaves the rest to the others.
const PARTS: usize = 8;
/// Rows of activations for which it is worth while to unpack the weights before they are multiplied.
const MANY: usize = 7;

/// `y = x · Wᵀ`: a linear layer without bias.
///
/// # Shapes
/// `x`: `[rows, inputs]`; `y`: `[rows, outputs]`, overwritten; `weight`: `outputs` rows of `inputs` columns.
///
/// Activations are rounded to eight bits in groups of 32 for quantized weights, and not at all for 16-bit floats. A
/// group of activations with a NaN or an infinity gives NaN.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn matmul(x: &[f32], weight: &QuantizedMatrix, y: &mut [f32]) {
    matmul_many(x, &mut [(weight, y)]);
}

/// [`matmul`] of one input with several weights, such as queries, keys and values, or gate and up: the input is
/// quantized once, and the threads are woken once.
///
/// # Panics
/// As [`matmul`], and if the weights differ in their inputs.
pub fn matmul_many(x: &[f32], products: &mut [(&QuantizedMatrix, &mut [f32])]) {
    matmul_at(level(), x, products);
}

/// One weight's product.
struct Product<'a> {
    weight: &'a QuantizedMatrix,
    y: Output,
}

pub(super) fn matmul_at(level: Level, x: &[f32], products: &mut [(&QuantizedMatrix, &mut [f32])]) {
    let Some(columns) = products.first().map(|(weight, _)| weight.columns()) else { return };
    for (weight, y) in products.iter_mut() {
        assert_eq!(weight.columns(), columns, "weights with one input have as many columns");
        if columns == 0 {
            y.fill(0.);
        } else {
            assert!(x.len().is_multiple_of(columns), "{} activations are no rows of {columns}", x.len());
            assert_eq!(y.len(), x.len() / columns * weight.rows(), "a row of outputs for each row of activations");
        }
    }
    if x.is_empty() || columns == 0 {
        return;
    }
    let rows = x.len() / columns;
    let any = |test: &dyn Fn(BlockFormat) -> bool| products.iter().any(|(weight, _)| test(weight.format()));
    let wide = rows >= MANY && any(&|format| matches!(format, BlockFormat::Q8_0 | BlockFormat::Q6K));
    let quantized = any(&|format| !format.is_float());
    let activations = quantized.then(|| Activations::new(level, x, columns, wide));
    let products: Vec<_> = products
        .iter_mut()
        .filter(|(weight, _)| weight.rows() > 0)
        .map(|(weight, y)| Product { weight, y: Output::new(y, weight.rows()) })
        .collect();

    let work = |at: usize, outputs: Range<usize>| {
        let Product { weight, y } = &products[at];
        match &activations {
            Some(activations) if !weight.format().is_float() => {
                quantized_product(level, activations, weight, outputs, *y)
            }
            _ => floats(level, x, weight, outputs, *y),
        }
    };
    let outputs: Vec<usize> = products.iter().map(|product| product.weight.rows()).collect();
    let total = outputs.iter().sum::<usize>().saturating_mul(columns).saturating_mul(rows);
    if total < THREADED {
        return outputs.iter().enumerate().for_each(|(at, outputs)| work(at, 0..*outputs));
    }
    let parts = Parts::new(&outputs, (total / PART).min(PARTS * rayon::current_num_threads()));
    team::share(parts.count(), |part| parts.each(part, work));
}

/// Some outputs of quantized weights, for all rows.
fn quantized_product(level: Level, x: &Activations, weight: &QuantizedMatrix, outputs: Range<usize>, y: Output) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: a level is only taken after its features have been found; no other thread has these outputs.
        return match x.rows() < MANY {
            true => unsafe { super::avx2::few_rows(x, weight, outputs, y) },
            // SAFETY: as above.
            false => unsafe { super::avx2_many::many_rows(x, weight, outputs, y) },
        };
    }
    let _ = level;
    let (format, row_bytes) = (weight.format(), weight.row_bytes());
    let bytes = weight.bytes();
    for output in outputs {
        let weights = &bytes[output * row_bytes..][..row_bytes];
        for row in 0..x.rows() {
            // SAFETY: no other thread has these outputs.
            unsafe { y.write(row, output, portable::dot(format, weights, x.row(row))) };
        }
    }
}

/// Some outputs of weights in 16-bit floats, for all rows.
fn floats(level: Level, x: &[f32], weight: &QuantizedMatrix, outputs: Range<usize>, y: Output) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: a level is only taken after its features have been found; no other thread has these outputs.
        unsafe { super::avx2_floats::floats(x, weight, outputs, y) };
        return;
    }
    let _ = level;
    let (format, row_bytes) = (weight.format(), weight.row_bytes());
    let bytes = weight.bytes();
    for output in outputs {
        let weights = &bytes[output * row_bytes..][..row_bytes];
        for (row, x) in x.chunks_exact(weight.columns()).enumerate() {
            // SAFETY: no other thread has these outputs.
            unsafe { y.write(row, output, portable::dot_floats(format, weights, x)) };
        }
    }
}
