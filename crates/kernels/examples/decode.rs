//! How long a small language model takes for a token: `cargo run --release -p safevlm-kernels --example decode`.
//!
//! Runs the kernels of a whole model with random weights: `[smol|qwen] [--rows N] [--tokens N] [FORMAT..]`. `smol` has
//! the shapes of SmolLM2-135M, `qwen` those of Qwen2.5-0.5B; formats are `f32`, `q8_0`, `q4_0`, `q4_1`, `f16` and so on.
//! One row of activations after 255 others is a token of decoding; `--rows 256` is the prefill of a prompt, of which
//! only the last row goes through the head. `RAYON_NUM_THREADS` and `SAFEVLM_SIMD` choose threads and instructions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rayon::prelude::*;
use safevlm_kernels::activation::silu_mul;
use safevlm_kernels::attention::{Attention, Heads, Order, attention};
use safevlm_kernels::linear::linear_many;
use safevlm_kernels::norm::{add_rms_norm, rms_norm_into};
use safevlm_kernels::quant::{BlockFormat, QuantizedMatrix, matmul_many};
use safevlm_kernels::rope::{HeadLayout, rope};
use safevlm_kernels::{Limits, level, on_pool, team};

/// Tokens in the cache.
const KEYS: usize = 256;
const HEAD_DIM: usize = 64;
const EPS: f32 = 1e-5;

/// Sizes of a model.
struct Shape {
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    mlp: usize,
    vocabulary: usize,
}

const SMOL: Shape = Shape { layers: 30, hidden: 576, heads: 9, kv_heads: 3, mlp: 1536, vocabulary: 49152 };
const QWEN: Shape = Shape { layers: 24, hidden: 896, heads: 14, kv_heads: 2, mlp: 4864, vocabulary: 151_936 };

/// A weight of a linear layer, with its inputs.
enum Weight {
    F32(Vec<f32>, usize),
    Quantized(QuantizedMatrix),
}

impl Weight {
    /// Random values, of a size that keeps activations as large as they are.
    fn new(format: Option<BlockFormat>, outputs: usize, inputs: usize) -> Self {
        let scale = 3.5 / (inputs as f32).sqrt();
        let mut values = vec![0.0; outputs * inputs];
        values.par_chunks_mut(inputs).enumerate().for_each(|(row, values)| fill(values, row as u64, scale));
        match format {
            None => Self::F32(values, inputs),
            Some(format) => match QuantizedMatrix::quantize(format, &values, inputs) {
                Ok(weight) => Self::Quantized(weight),
                Err(error) => exit(&error.to_string()),
            },
        }
    }

    /// The same values in memory of their own.
    fn copy(&self) -> Self {
        match self {
            Self::F32(values, inputs) => Self::F32(values.clone(), *inputs),
            Self::Quantized(weight) => {
                let owner = Arc::new(weight.bytes().to_vec());
                match QuantizedMatrix::new(weight.format(), weight.rows(), weight.columns(), owner, 0) {
                    Ok(weight) => Self::Quantized(weight),
                    Err(error) => exit(&error.to_string()),
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32(values, _) => 4 * values.len(),
            Self::Quantized(weight) => weight.size(),
        }
    }
}

/// `x` times each of the weights.
fn products<const N: usize>(x: &[f32], weights: [&Weight; N], y: [&mut [f32]; N]) {
    let (mut plain, mut quantized, mut columns) = (Vec::new(), Vec::new(), 0);
    for (weight, y) in weights.into_iter().zip(y) {
        match weight {
            Weight::F32(values, inputs) => {
                columns = *inputs;
                plain.push((&values[..], y));
            }
            Weight::Quantized(weight) => quantized.push((weight, y)),
        }
    }
    if !plain.is_empty() {
        linear_many(x, columns, &mut plain);
    }
    matmul_many(x, &mut quantized);
}

struct Layer {
    qkv: [Weight; 3],
    o: Weight,
    gate_up: [Weight; 2],
    down: Weight,
    /// `[kv_heads, KEYS, HEAD_DIM]` each.
    cache: [Vec<f32>; 2],
}

impl Layer {
    fn new(format: Option<BlockFormat>, shape: &Shape) -> Self {
        let Shape { hidden, heads, kv_heads, mlp, .. } = *shape;
        let weight = |outputs: usize, inputs: usize| Weight::new(format, outputs, inputs);
        let mut cache = [vec![0.0; kv_heads * KEYS * HEAD_DIM], vec![0.0; kv_heads * KEYS * HEAD_DIM]];
        cache.iter_mut().for_each(|values| fill(values, 5, 1.0));
        Self {
            qkv: [heads, kv_heads, kv_heads].map(|heads| weight(heads * HEAD_DIM, hidden)),
            o: weight(hidden, heads * HEAD_DIM),
            gate_up: [weight(mlp, hidden), weight(mlp, hidden)],
            down: weight(hidden, mlp),
            cache,
        }
    }

    fn copy(&self) -> Self {
        Self {
            qkv: self.qkv.each_ref().map(Weight::copy),
            o: self.o.copy(),
            gate_up: self.gate_up.each_ref().map(Weight::copy),
            down: self.down.copy(),
            cache: self.cache.clone(),
        }
    }

    fn bytes(&self) -> usize {
        let weights = self.qkv.iter().chain(&self.gate_up).chain([&self.o, &self.down]);
        weights.map(Weight::bytes).sum::<usize>() + self.cache.iter().map(|values| 4 * values.len()).sum::<usize>()
    }
}

struct Model {
    shape: Shape,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Weight,
    /// `[KEYS, HEAD_DIM / 2]` each.
    angles: [Vec<f32>; 2],
}

/// What a token is computed in.
struct Buffers {
    residual: Vec<f32>,
    x: Vec<f32>,
    qkv: [Vec<f32>; 3],
    mixed: Vec<f32>,
    gate_up: [Vec<f32>; 2],
    logits: Vec<f32>,
}

impl Buffers {
    fn new(shape: &Shape, rows: usize) -> Self {
        let row = |width: usize| vec![0.0; rows * width];
        Self {
            residual: row(shape.hidden),
            x: row(shape.hidden),
            qkv: [shape.heads, shape.kv_heads, shape.kv_heads].map(|heads| row(heads * HEAD_DIM)),
            mixed: row(shape.heads * HEAD_DIM),
            gate_up: [row(shape.mlp), row(shape.mlp)],
            logits: vec![0.0; shape.vocabulary],
        }
    }
}

impl Model {
    fn new(format: Option<BlockFormat>, shape: Shape) -> Self {
        let first = Layer::new(format, &shape);
        let mut layers: Vec<Layer> = (1..shape.layers).map(|_| first.copy()).collect();
        layers.push(first);
        let angle = |i: usize| (i / (HEAD_DIM / 2)) as f32 * 0.01 * (i % (HEAD_DIM / 2)) as f32;
        let table = |of: fn(f32) -> f32| (0..KEYS * HEAD_DIM / 2).map(|i| of(angle(i))).collect();
        let head = Weight::new(format, shape.vocabulary, shape.hidden);
        Self { norm: vec![1.0; shape.hidden], layers, head, angles: [table(f32::cos), table(f32::sin)], shape }
    }

    /// Bytes that a token reads: weights and cache.
    fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum::<usize>() + self.head.bytes()
    }

    /// The last `rows` of [`KEYS`] tokens.
    fn run(&mut self, rows: usize, buffers: &mut Buffers) {
        let Shape { hidden, heads, kv_heads, .. } = self.shape;
        let Buffers { residual, x, qkv: [q, k, v], mixed, gate_up: [gate, up], logits } = buffers;
        let past = KEYS - rows;
        let [cos, sin] = self.angles.each_ref().map(|table| &table[past * HEAD_DIM / 2..]);
        let shape = Attention {
            batch: 1,
            queries: rows,
            keys: KEYS,
            heads,
            kv_heads,
            head_dim: HEAD_DIM,
            scale: 0.125,
            order: Order::Causal { past },
            hidden: None,
        };
        fill(residual, 1, 3.0);
        rms_norm_into(residual, &self.norm, EPS, false, x);
        for layer in &mut self.layers {
            products(x, layer.qkv.each_ref(), [q, k, v]);
            rope(q, cos, sin, HeadLayout::by_token(heads, HEAD_DIM));
            rope(k, cos, sin, HeadLayout::by_token(kv_heads, HEAD_DIM));
            for (cache, new) in layer.cache.iter_mut().zip([&*k, &*v]) {
                for (i, new) in new.chunks_exact(HEAD_DIM).enumerate() {
                    let (token, head) = (past + i / kv_heads, i % kv_heads);
                    cache[(head * KEYS + token) * HEAD_DIM..][..HEAD_DIM].copy_from_slice(new);
                }
            }
            let [keys, values] = layer.cache.each_ref().map(|cache| Heads::by_head(cache, kv_heads, KEYS, HEAD_DIM));
            attention(&shape, Heads::by_token(q, rows, heads, HEAD_DIM), keys, values, mixed);
            products(mixed, [&layer.o], [x]);
            let add: Vec<f32> = x.clone();
            add_rms_norm(residual, &add, &self.norm, EPS, false, x);
            products(x, layer.gate_up.each_ref(), [gate, up]);
            silu_mul(gate, up);
            products(gate, [&layer.down], [x]);
            let add: Vec<f32> = x.clone();
            add_rms_norm(residual, &add, &self.norm, EPS, false, x);
        }
        products(&x[(rows - 1) * hidden..], [&self.head], [logits]);
    }
}

/// The least and the middle of the times of `runs` runs, in milliseconds.
fn times(runs: usize, mut run: impl FnMut()) -> [f64; 2] {
    run();
    let time = |_| {
        let begin = Instant::now();
        run();
        begin.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..runs).map(time).collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[runs / 2]]
}

/// Milliseconds of as many hand-overs as a token has products, in which nothing is done but to wait for the others.
fn hand_overs(layers: usize) -> [f64; 2] {
    let threads = rayon::current_num_threads();
    times(20, || {
        for _ in 0..4 * layers + 1 {
            let begun = AtomicUsize::new(0);
            team::share(threads, |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                while begun.load(Ordering::Relaxed) < threads {
                    std::hint::spin_loop();
                }
            });
        }
    })
}

fn fill(values: &mut [f32], seed: u64, scale: f32) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for value in values {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *value = ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * scale;
    }
}

fn exit(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1);
}

fn main() {
    safevlm_kernels::keep_freed_memory();
    let (mut rows, mut tokens, mut qwen, mut formats) = (1, 32, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || match arguments.next().and_then(|number| number.parse().ok()) {
            Some(number) if (1..=KEYS).contains(&number) => number,
            _ => exit(&format!("{argument} takes a number up to {KEYS}")),
        };
        match argument.as_str() {
            "--rows" => rows = number(),
            "--tokens" => tokens = number(),
            "smol" => qwen = false,
            "qwen" => qwen = true,
            "f32" => formats.push(None),
            format => match format.parse() {
                Ok(format) => formats.push(Some(format)),
                Err(error) => exit(&format!("{error}")),
            },
        }
    }
    if formats.is_empty() {
        formats = ["q8_0", "q4_0", "q4_1", "f16"].map(|name| name.parse().ok()).to_vec();
        formats.insert(0, None);
    }
    let threads = rayon::current_num_threads();
    let alone = match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool,
        Err(error) => exit(&error.to_string()),
    };
    println!("level {}, {threads} threads, {rows} rows; {:.1?}", level().name(), Limits::measure());
    for format in formats {
        let mut model = Model::new(format, if qwen { QWEN } else { SMOL });
        let mut buffers = Buffers::new(&model.shape, rows);
        let (bytes, layers) = (model.bytes(), model.shape.layers);
        let [one, _] = alone.install(|| times(tokens, || model.run(rows, &mut buffers)));
        let [all, middle] = on_pool(|| times(tokens, || model.run(rows, &mut buffers)));
        let [empty, empty_middle] = on_pool(|| hand_overs(layers));
        println!(
            "{:5} {all:8.2} ms (middle {middle:8.2}), {:7.1} tokens/s, {:5.1} GB/s of {:4.0} MB; one thread {one:8.2} ms, \
             gain {:.2}; hand-overs {empty:.2} ms (middle {empty_middle:.2})",
            format.map_or("f32", BlockFormat::name),
            rows as f64 / all * 1e3,
            bytes as f64 / all / 1e6,
            bytes as f64 / 1e6,
            one / all,
        );
    }
}
