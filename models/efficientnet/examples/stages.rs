//! Prints how long each stage of Lite0 takes on the CPU:
//! `cargo run --release -p safevlm-efficientnet --features safevlm-core/flex --example stages`

use std::time::{Duration, Instant};

use burn::tensor::{Device, Distribution, Tensor};
use safevlm_core::image::RgbImage;
use safevlm_efficientnet::{EfficientNet, EfficientNetConfig, Preprocess};

const RUNS: usize = 30;

fn main() {
    let device = Device::flex();
    let config = EfficientNetConfig::preset("lite0").expect("a published size");
    let model = config.init(&device);
    let preprocess = Preprocess::new(&config);
    for (width, height) in [(640, 480), (4000, 3000)] {
        let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let name = format!("preprocess {width}x{height}");
        timed(&name, || preprocess.batch(&[&image], &device).expect("an image with pixels"));
    }
    let pixels = Tensor::random([1, 3, 224, 224], Distribution::Uniform(-1.0, 1.0), &device);
    print_stages(&model, pixels);
}

fn print_stages(model: &EfficientNet, pixels: Tensor<4>) {
    let mut x = timed("conv_stem", || model.conv_stem.forward(pixels.clone()).clamp(0.0, 6.0));
    for (n, block) in model.blocks.iter().enumerate() {
        let input = x.clone();
        x = timed(&format!("blocks.{n} {:?}", x.dims()), || block.forward(input.clone()));
    }
    timed("conv_head", || model.conv_head.forward(x.clone()).clamp(0.0, 6.0));
    timed("whole, to logits", || model.forward(pixels.clone()));
}

/// Runs `step` repeatedly, prints the median time, and gives the last result.
fn timed<const D: usize>(name: &str, step: impl Fn() -> Tensor<D>) -> Tensor<D> {
    let run = || {
        let start = Instant::now();
        let result = step();
        let time = start.elapsed();
        (time, result)
    };
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run().0).collect();
    times.sort();
    println!("  {name:<32} {:8.2} ms", times[RUNS / 2].as_secs_f64() * 1e3);
    run().1
}
