//! How long the dense kernels take: `cargo run --release -p safevlm-kernels --example dense [name]`.
//!
//! Times are the best of some runs, in milliseconds. `RAYON_NUM_THREADS` and `SAFEVLM_SIMD` choose threads and level.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use safevlm_kernels::activation::*;
use safevlm_kernels::attention::{Attention, Heads, Order, attention, attention_backward};
use safevlm_kernels::convolution::{Affine, Convolution, convolve};
use safevlm_kernels::linear::{linear, linear_backward_input, linear_backward_weight};
use safevlm_kernels::norm::{add_rms_norm, layer_norm_into, rms_norm_into};
use safevlm_kernels::rope::{HeadLayout, rope};
use safevlm_kernels::softmax::softmax;

/// Runs for a fifth of a second at least.
fn best_ms(mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || begin.elapsed().as_millis() < 200 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        runs += 1;
    }
    best
}

/// Prints a kernel's time, if its name has `filter` in it; `amount` is in values read or written, or in operations.
fn report(filter: &str, name: &str, amount: usize, unit: &str, run: impl FnMut()) {
    if name.contains(filter) {
        let ms = best_ms(run);
        let per_second = amount as f64 / ms / 1e6 * if unit == "GB/s" { 4.0 } else { 1.0 };
        println!("{name:48} {ms:9.3} ms {per_second:8.1} {unit}");
    }
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.7).sin() * 3.0).collect()
}

/// On all threads, so that it takes as little of the time as it can.
fn copy(from: &[f32], to: &mut [f32]) {
    to.par_chunks_mut(1 << 16).zip(from.par_chunks(1 << 16)).for_each(|(to, from)| to.copy_from_slice(from));
}

fn elementwise(filter: &str) {
    let len = 576 * 4096;
    let (x, mut y) = (values(len), values(len));
    let functions = [
        ("gelu", gelu as fn(&mut [f32])),
        ("gelu_tanh", gelu_tanh),
        ("quick_gelu", quick_gelu),
        ("silu", silu),
        ("sigmoid", sigmoid),
        ("tanh", tanh),
        ("exp", exp),
    ];
    for (name, function) in functions {
        // From the same values each time: what is computed of its own output soon ends in denormal numbers.
        report(filter, &format!("copy + {name} 576x4096"), 4 * len, "GB/s", || {
            copy(&x, &mut y);
            function(black_box(&mut y));
        });
    }
    report(filter, "copy 576x4096", 2 * len, "GB/s", || copy(black_box(&x), black_box(&mut y)));
    report(filter, "copy + silu_mul 576x4096", 5 * len, "GB/s", || {
        copy(&x, &mut y);
        silu_mul(black_box(&mut y), &x);
    });
    report(filter, "copy + gelu_backward 576x4096", 5 * len, "GB/s", || {
        copy(&x, &mut y);
        gelu_backward(&x, black_box(&mut y));
    });
    report(filter, "copy + silu_backward 576x4096", 5 * len, "GB/s", || {
        copy(&x, &mut y);
        silu_backward(&x, black_box(&mut y));
    });
    report(filter, "silu 1x1536", 2 * 1536, "GB/s", || silu(black_box(&mut y[..1536])));
}

fn rows(filter: &str) {
    let (rows, width) = (576, 1024);
    let (x, mut y, mut out) = (values(rows * width), values(rows * width), vec![0.0; rows * width]);
    let weight = values(width);
    report(filter, "rms_norm 576x1024", 2 * x.len(), "GB/s", || {
        rms_norm_into(&x, &weight, 1e-5, false, black_box(&mut out))
    });
    report(filter, "layer_norm 576x1024", 2 * x.len(), "GB/s", || {
        layer_norm_into(&x, &weight, &weight, 1e-5, black_box(&mut out));
    });
    y.fill(0.0);
    report(filter, "add_rms_norm 576x1024", 4 * x.len(), "GB/s", || {
        add_rms_norm(&mut y, &x, &weight, 1e-5, false, black_box(&mut out));
    });
    let (cos, sin) = (vec![0.6; 2048 * 32], vec![0.8; 2048 * 32]);
    let mut heads = values(2048 * 9 * 64);
    let amount = 2 * heads.len();
    report(filter, "rope 2048x9x64", amount, "GB/s", || {
        rope(black_box(&mut heads), &cos, &sin, HeadLayout::by_token(9, 64))
    });
    let scores = values(16 * 577 * 577);
    let mut out = scores.clone();
    report(filter, "copy + softmax 16x577x577", 4 * scores.len(), "GB/s", || {
        copy(&scores, &mut out);
        softmax(black_box(&mut out), 577);
    });
}

fn heads(filter: &str) {
    let order = |keys: usize, queries: usize| Order::Causal { past: keys - queries };
    let cases = [
        ("attention 16 x 577 x 64", 577, 577, 16, 16, 64, Order::Both),
        ("attention 16 x 1024 x 80", 1024, 1024, 16, 16, 80, Order::Both),
        ("attention 16 x 729 x 72", 729, 729, 16, 16, 72, Order::Both),
        ("attention 9/3 x 256 x 64 causal", 256, 256, 9, 3, 64, order(256, 256)),
        ("attention 9/3 x 2048 x 64 causal", 2048, 2048, 9, 3, 64, order(2048, 2048)),
        ("attention 14/2 x 2048 x 64 causal", 2048, 2048, 14, 2, 64, order(2048, 2048)),
        ("attention 4/1 x 1024 x 256 causal", 1024, 1024, 4, 1, 256, order(1024, 1024)),
        ("decode 9/3 x 2048 x 64", 1, 2048, 9, 3, 64, Order::Both),
        ("decode 14/2 x 2048 x 64", 1, 2048, 14, 2, 64, Order::Both),
        ("decode 16/16 x 2048 x 64", 1, 2048, 16, 16, 64, Order::Both),
        ("decode 9/3 x 300 x 64", 1, 300, 9, 3, 64, Order::Both),
        ("decode 8/1 x 1024 x 256", 1, 1024, 8, 1, 256, Order::Both),
    ];
    for (name, queries, keys, heads, kv_heads, head_dim, order) in cases {
        let scale = 1.0 / (head_dim as f32).sqrt();
        let shape = Attention { batch: 1, queries, keys, heads, kv_heads, head_dim, scale, order, hidden: None };
        let (q, k, v) = (
            values(queries * heads * head_dim),
            values(keys * kv_heads * head_dim),
            values(keys * kv_heads * head_dim),
        );
        let mut out = vec![0.0; q.len()];
        let (q, k, v) = (
            Heads::by_token(&q, queries, heads, head_dim),
            Heads::by_head(&k, kv_heads, keys, head_dim),
            Heads::by_head(&v, kv_heads, keys, head_dim),
        );
        let run = || attention(&shape, q, k, v, black_box(&mut out));
        match queries {
            1 => report(filter, name, 2 * keys * kv_heads * head_dim, "GB/s", run),
            _ => {
                let seen = if order == Order::Both { queries * keys } else { queries * (queries + 1) / 2 };
                report(filter, name, 4 * heads * seen * head_dim, "GFLOP/s", run);
            }
        }
    }
}

fn products(filter: &str) {
    for (inputs, outputs) in [(576, 576), (576, 1536), (1536, 576), (1024, 4096), (576, 49152)] {
        let weight = values(inputs * outputs);
        for rows in [1, 4, 8, 16, 50, 56, 256, 576] {
            let x = values(rows * inputs);
            let mut y = vec![0.0; rows * outputs];
            let run = || linear(&x, &weight, inputs, black_box(&mut y));
            let name = format!("linear {rows} x {inputs} x {outputs}");
            match rows {
                1 => report(filter, &name, inputs * outputs, "GB/s", run),
                _ => report(filter, &name, 2 * rows * inputs * outputs, "GFLOP/s", run),
            }
        }
    }
}

/// A convolution of a square image, its weights, and where its output goes.
struct Layer {
    name: String,
    shape: Convolution,
    weight: Vec<f32>,
    shift: Vec<f32>,
    cut: Option<[f32; 2]>,
    y: Vec<f32>,
}

impl Layer {
    /// With TensorFlow's padding, the odd zero behind.
    fn new(name: &str, [channels, outputs]: [usize; 2], kernel: usize, stride: usize, side: usize, cut: bool) -> Self {
        let after = side.div_ceil(stride);
        let zeros = ((after - 1) * stride + kernel).saturating_sub(side);
        let groups = if name == "depthwise" { channels } else { 1 };
        let shape = Convolution {
            batch: 1,
            channels,
            size: [side; 2],
            outputs,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [[zeros / 2, zeros - zeros / 2]; 2],
            groups,
        };
        Self {
            name: format!("convolution {name} {channels} to {outputs}, {kernel}x{kernel}/{stride}, {side}"),
            shape,
            weight: values(outputs * channels / groups * kernel * kernel).iter().map(|x| x * 0.1).collect(),
            shift: vec![0.5; outputs],
            cut: cut.then_some([0.0, 6.0]),
            y: vec![0.0; outputs * after * after],
        }
    }

    fn run(&mut self, x: &[f32]) {
        let affine = Affine { scale: Some(&self.shift), shift: &self.shift, cut: self.cut };
        convolve(&self.shape, x, &self.weight, Some(affine), &mut self.y);
    }
}

/// The layers of EfficientNet-Lite0, and of each the layer whose output is added to its own.
fn lite0() -> Vec<(Layer, Option<usize>)> {
    let stages =
        [[1, 3, 1, 1, 16], [2, 3, 2, 6, 24], [2, 5, 2, 6, 40], [3, 3, 2, 6, 80], [3, 5, 1, 6, 112], [4, 5, 2, 6, 192]];
    let mut layers = vec![(Layer::new("stem", [3, 32], 3, 2, 224, true), None)];
    let (mut width, mut side) = (32, 112);
    for [repeats, kernel, stride, expansion, outputs] in stages.into_iter().chain([[1, 3, 1, 6, 320]]) {
        for nth in 0..repeats {
            let (stride, inner, before) = (if nth == 0 { stride } else { 1 }, width * expansion, layers.len() - 1);
            if expansion > 1 {
                layers.push((Layer::new("expand", [width, inner], 1, 1, side, true), None));
            }
            layers.push((Layer::new("depthwise", [inner; 2], kernel, stride, side, true), None));
            side = side.div_ceil(stride);
            let residual = (stride == 1 && width == outputs).then_some(before);
            layers.push((Layer::new("project", [inner, outputs], 1, 1, side, false), residual));
            width = outputs;
        }
    }
    layers.push((Layer::new("head", [width, 1280], 1, 1, side, true), None));
    layers
}

fn convolutions(filter: &str) {
    let mut layers = lite0();
    let pixels = values(3 * 224 * 224);
    let operations = |layer: &Layer| 2 * layer.y.len() * layer.weight.len() / layer.shape.outputs;
    let all = layers.iter().map(|(layer, _)| operations(layer)).sum();
    report(filter, "convolution: EfficientNet-Lite0", all, "GFLOP/s", || {
        for nth in 0..layers.len() {
            let (before, rest) = layers.split_at_mut(nth);
            let (layer, residual) = &mut rest[0];
            layer.run(before.last().map_or(&pixels, |(layer, _)| &layer.y));
            if let Some(residual) = residual {
                layer.y.iter_mut().zip(&before[*residual].0.y).for_each(|(y, x)| *y += x);
            }
        }
    });
    let patches = [(16, 224, 768), (16, 512, 768), (14, 336, 1024)].map(|(patch, side, width)| {
        let mut layer = Layer::new("patches", [3, width], patch, patch, side, false);
        layer.shape.padding = [[0; 2]; 2];
        layer
    });
    for mut layer in layers.into_iter().map(|(layer, _)| layer).chain(patches) {
        let x = values(layer.shape.channels * layer.shape.size[0] * layer.shape.size[1]);
        report(filter, &layer.name.clone(), operations(&layer), "GFLOP/s", || layer.run(black_box(&x)));
    }
}

fn gradients(filter: &str) {
    for (rows, inputs, outputs) in
        [(330, 576, 576), (330, 576, 1536), (330, 1536, 576), (330, 576, 16), (330, 16, 1536), (120, 576, 49152)]
    {
        let (x, weight, grad) = (values(rows * inputs), values(inputs * outputs), values(rows * outputs));
        let mut out = vec![0.0; x.len()];
        let name = |of: &str| format!("gradient of {of}, {rows} x {inputs} x {outputs}");
        let amount = 2 * rows * inputs * outputs;
        report(filter, &name("inputs"), amount, "GFLOP/s", || {
            linear_backward_input(&grad, &weight, inputs, black_box(&mut out));
        });
        let mut out = vec![0.0; weight.len()];
        report(filter, &name("weights"), amount, "GFLOP/s", || {
            linear_backward_weight(&grad, &x, inputs, black_box(&mut out));
        });
    }
    let (batch, tokens, heads, kv_heads, head_dim) = (3, 110, 9, 3, 64);
    let (scale, order, hidden) = (0.125, Order::Causal { past: 0 }, None);
    let shape = Attention { batch, queries: tokens, keys: tokens, heads, kv_heads, head_dim, scale, order, hidden };
    let (q, kv) = (values(batch * tokens * heads * head_dim), values(batch * tokens * kv_heads * head_dim));
    let (mut q_grad, mut k_grad, mut v_grad) = (q.clone(), kv.clone(), kv.clone());
    let amount = 10 * batch * heads * tokens * tokens * head_dim;
    report(filter, "gradient of attention 3 x 9/3 x 110 x 64", amount, "GFLOP/s", || {
        let of_keys = Heads::by_token(&kv, tokens, kv_heads, head_dim);
        let queries = Heads::by_token(&q, tokens, heads, head_dim);
        attention_backward(&shape, queries, of_keys, of_keys, &q, [&mut q_grad, &mut k_grad, black_box(&mut v_grad)]);
    });
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!("level {}, {} threads", safevlm_kernels::level().name(), rayon::current_num_threads());
    elementwise(&filter);
    rows(&filter);
    heads(&filter);
    products(&filter);
    convolutions(&filter);
    gradients(&filter);
}
