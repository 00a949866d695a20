//! Times of quantized linear layers: `cargo run --release -p safevlm-kernels --example quant`.
//!
//! Prints the best of several runs: microseconds and GB/s of weights for one row of activations, microseconds and
//! GFLOP/s for many rows, beside the same product in f32 by the `gemm` crate, and the speed of a plain read.
//! Arguments choose shapes, `1536x576`; `RAYON_NUM_THREADS` the threads; `SAFEVLM_SIMD` the instructions.

#![allow(unsafe_code, reason = "the f32 product beside is a call with pointers")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use safevlm_kernels::quant::{BlockFormat, QuantizedMatrix, matmul};

/// SmolLM2-135M's: queries and outputs, gate and up, down, vocabulary; and one for the formats with blocks of 256.
const SHAPES: [(usize, usize); 5] = [(576, 576), (1536, 576), (576, 1536), (49152, 576), (2048, 2048)];
const ROWS: [usize; 7] = [1, 2, 4, 32, 128, 256, 512];

fn main() {
    let threads = rayon::current_num_threads();
    println!("{threads} threads, {}; a plain read: {:.1} GB/s", safevlm_kernels::level().name(), read_speed());
    let asked: Vec<_> = std::env::args().skip(1).filter_map(|shape| parse(&shape)).collect();
    let shapes = if asked.is_empty() { &SHAPES[..] } else { &asked };
    // In the pool, as a model runs: the calling thread is one of its threads.
    rayon::scope(|_| shapes.iter().for_each(|(outputs, inputs)| measure(*outputs, *inputs)));
}

fn parse(shape: &str) -> Option<(usize, usize)> {
    let (outputs, inputs) = shape.split_once('x')?;
    Some((outputs.parse().ok()?, inputs.parse().ok()?))
}

fn measure(outputs: usize, inputs: usize) {
    let values: Vec<f32> = (0..outputs * inputs).map(|i| ((i * 7919) % 1013) as f32 / 1013. - 0.5).collect();
    let most = ROWS[ROWS.len() - 1];
    let x: Vec<f32> = (0..most * inputs).map(|i| ((i * 104_729) % 997) as f32 / 997. - 0.5).collect();
    let mut y = vec![0.; most * outputs];
    let report = |name: &str, bytes: usize, run: &mut dyn FnMut(usize)| {
        print!("{outputs} x {inputs} {name:>5}:");
        for rows in ROWS.into_iter().filter(|rows| rows * outputs * inputs < 6_000_000_000) {
            let time = best(|| run(rows)).as_secs_f64();
            if rows == 1 {
                print!(" {:.1} us ({:.1} GB/s)", 1e6 * time, bytes as f64 / time / 1e9);
            } else {
                let work = 2. * (rows * outputs * inputs) as f64;
                print!(" | {rows}: {:.0} us ({:.0})", 1e6 * time, work / time / 1e9);
            }
        }
        println!();
    };
    for format in BlockFormat::ALL.into_iter().filter(|format| inputs.is_multiple_of(format.block_len())) {
        let Ok(weight) = QuantizedMatrix::quantize(format, &values, inputs) else { continue };
        report(format.name(), weight.size(), &mut |rows| {
            matmul(&x[..rows * inputs], &weight, &mut y[..rows * outputs])
        });
    }
    report("f32", 4 * outputs * inputs, &mut |rows| f32_product(&x[..rows * inputs], &values, &mut y, rows, inputs));
}

/// `y = x · wᵀ` in f32.
fn f32_product(x: &[f32], w: &[f32], y: &mut [f32], rows: usize, inputs: usize) {
    let outputs = w.len() / inputs;
    assert!(x.len() == rows * inputs && y.len() >= rows * outputs);
    let (columns, row) = (outputs as isize, inputs as isize);
    // SAFETY: the three matrices have these sizes.
    unsafe {
        #[rustfmt::skip]
        gemm::gemm(
            rows, outputs, inputs, y.as_mut_ptr(), 1, columns, false, x.as_ptr(), 1, row, w.as_ptr(), row, 1,
            0., 1., false, false, false, gemm::Parallelism::Rayon(0),
        );
    }
}

/// The shortest of the runs that fit in a fifth of a second, at least three.
fn best(mut run: impl FnMut()) -> Duration {
    let mut shortest = Duration::MAX;
    let start = Instant::now();
    let mut runs = 0;
    while runs < 3 || start.elapsed() < Duration::from_millis(200) {
        let start = Instant::now();
        run();
        shortest = shortest.min(start.elapsed());
        runs += 1;
    }
    shortest
}

/// GB/s of all threads that add up 256 MB.
fn read_speed() -> f64 {
    use rayon::prelude::*;
    let values = vec![1_u64; 32 << 20];
    let part = values.len() / rayon::current_num_threads();
    let sum = |part: &[u64]| part.iter().fold(0_u64, |sum, value| sum.wrapping_add(*value));
    let time = best(|| {
        black_box(values.par_chunks(part).map(sum).sum::<u64>());
    });
    8. * values.len() as f64 / time.as_secs_f64() / 1e9
}
