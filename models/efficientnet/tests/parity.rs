//! Every stage against timm (goldens by `xtask/goldens/efficientnet.py`), on flex and on flex with
//! autodiff: a tiny random network, and Lite0's published weights on real photographs.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safevlm_core::image::RgbImage;
use safevlm_efficientnet::{EfficientNet, EfficientNetConfig, Preprocess, lite0_checkpoint, load_checkpoint};
use safevlm_weights::{Cache, Fetcher, SafetensorsDir, StateDict, TensorSource};
use serde::Deserialize;

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// Every stage's output under its golden's name, in the order of the data.
fn stages(model: &EfficientNet, pixels: Tensor<4>) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut seen = Vec::new();
    let mut keep = |name: String, x: &Tensor<4>| seen.push((name, x.dims().to_vec(), values(x.clone())));
    let mut x = model.conv_stem.forward(pixels.clone()).clamp(0.0, 6.0);
    keep("conv_stem".to_owned(), &x);
    for (n, block) in model.blocks.iter().enumerate() {
        x = block.forward(x);
        keep(format!("blocks.{n}"), &x);
    }
    keep("conv_head".to_owned(), &model.forward_features(pixels.clone()));
    let logits = model.forward(pixels);
    seen.push(("logits".to_owned(), logits.dims().to_vec(), values(logits)));
    seen
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

/// The largest difference, relative to the largest magnitude of the stage.
fn assert_close(what: &str, got: impl IntoIterator<Item = f32>, expected: &[f32], scale: f32, tolerance: f32) {
    let mut count = 0;
    for (i, (a, b)) in got.into_iter().zip(expected).enumerate() {
        let error = (a - b).abs() / scale;
        assert!(error <= tolerance, "{what}: value {i} is {a}, the reference's {b} (relative error {error:.1e})");
        count += 1;
    }
    assert_eq!(count, expected.len(), "{what}");
}

fn devices() -> [(&'static str, Device); 2] {
    [("flex", Device::flex()), ("flex with autodiff", Device::flex().autodiff())]
}

#[test]
fn tiny_network_equals_timm_stage_by_stage() {
    let config: serde_json::Value = serde_json::from_slice(&fs::read(goldens("tiny/config.json")).unwrap()).unwrap();
    let config = EfficientNetConfig::from_hf(&config).unwrap();
    let checkpoint = SafetensorsDir::open(&goldens("tiny/model.safetensors")).unwrap();
    let golden = SafetensorsDir::open(&goldens("tiny/stages.safetensors")).unwrap();
    for (device_name, device) in devices() {
        let (model, report) = load_checkpoint(&config, &checkpoint, &device).unwrap();
        assert!(report.missing.is_empty(), "{report}");
        let pixels = TensorData::new(golden.read_f32("pixels").unwrap(), [2, 3, 33, 30]);
        let pixels = Tensor::from_data(pixels, &device);
        for (stage, shape, got) in stages(&model, pixels) {
            let what = format!("{stage} on {device_name}");
            assert_eq!(golden.info(&stage).unwrap().shape, shape, "{what}");
            let expected = golden.read_f32(&stage).unwrap();
            let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert_close(&what, got, &expected, scale, 1e-5);
        }
    }
}

#[derive(Deserialize)]
struct Photo {
    photo: String,
    top5: Vec<Label>,
    stages: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Label {
    id: usize,
    label: String,
}

#[derive(Deserialize)]
struct Stage {
    shape: Vec<usize>,
    mean: f64,
    max_abs: f32,
    values: Vec<f32>,
}

fn photographs() -> Vec<(Photo, RgbImage)> {
    let cases: Vec<Photo> = serde_json::from_slice(&fs::read(goldens("lite0.json")).unwrap()).unwrap();
    assert!(cases.len() >= 5);
    let open = |name: &str| image::open(goldens("photos").join(name)).unwrap().into_rgb8();
    cases.into_iter().map(|case| (open(&case.photo), case)).map(|(image, case)| (case, image)).collect()
}

#[test]
fn preprocessing_equals_timms_pixels() {
    let preprocess = Preprocess::new(&EfficientNetConfig::preset("lite0").unwrap());
    let golden = SafetensorsDir::open(&goldens("lite0.safetensors")).unwrap();
    for (case, image) in photographs() {
        let name = case.photo.trim_end_matches(".png");
        let expected = golden.read_f32(&format!("{name}.pixels")).unwrap();
        let square = preprocess.square(&image).unwrap();
        let at = |i: usize| square.get_pixel((i % 32 * 7) as u32, (i / 32 % 32 * 7) as u32).0[i / 1024];
        for (i, expected) in expected.iter().enumerate() {
            assert_eq!(f32::from(at(i)), *expected, "{name}: channel, row, column of [3,32,32] at {i}");
        }
    }
}

#[test]
fn lite0_equals_timm_on_photographs() {
    let fetcher = Fetcher::new(Cache::open(None).unwrap());
    let checkpoint = StateDict::open(&fetcher.fetch_file(&lite0_checkpoint()).unwrap()).unwrap();
    let config = EfficientNetConfig::preset("lite0").unwrap();
    let preprocess = Preprocess::new(&config);
    let golden = SafetensorsDir::open(&goldens("lite0.safetensors")).unwrap();
    let photographs = photographs();
    for (device_name, device) in devices() {
        let (model, report) = load_checkpoint(&config, &checkpoint, &device).unwrap();
        assert_eq!((report.applied.len(), report.missing.len(), report.unused.len()), (247, 0, 49));
        for (case, image) in &photographs {
            let pixels = preprocess.batch(&[image], &device).unwrap();
            check_photograph(&format!("{} on {device_name}", case.photo), case, &model, &pixels, &golden);
        }
    }
}

fn check_photograph(what: &str, case: &Photo, model: &EfficientNet, pixels: &Tensor<4>, golden: &SafetensorsDir) {
    for (stage, shape, got) in stages(model, pixels.clone()) {
        let expected: Stage = serde_json::from_value(case.stages[&stage].clone()).unwrap();
        assert_eq!(expected.shape, shape, "{stage} of {what}");
        let spread = got.iter().step_by(got.len() / 32).take(32).copied();
        assert_close(&format!("{stage} of {what}"), spread, &expected.values, expected.max_abs, 1e-4);
        let mean = got.iter().map(|v| f64::from(*v)).sum::<f64>() / got.len() as f64;
        let error = (mean - expected.mean).abs() / f64::from(expected.max_abs);
        assert!(error <= 1e-4, "{stage} of {what}: mean {mean}, the reference's {}", expected.mean);
    }
    let logits = values(model.forward(pixels.clone()));
    let expected = golden.read_f32(&format!("{}.logits", case.photo.trim_end_matches(".png"))).unwrap();
    assert_close(&format!("logits of {what}"), logits.iter().copied(), &expected, 1.0, 1e-3);
    let mut best: Vec<usize> = (0..logits.len()).collect();
    best.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    for (rank, label) in case.top5.iter().enumerate() {
        assert_eq!(best[rank], label.id, "rank {rank} of {what}: expected {}", label.label);
    }
}

#[test]
fn a_batch_equals_single_images_and_tokens_are_row_major() {
    let config = EfficientNetConfig { num_classes: 0, ..EfficientNetConfig::preset("lite0").unwrap() };
    let device = Device::flex();
    let model = config.init(&device);
    let preprocess = Preprocess::new(&config);
    let photographs = photographs();
    let images: Vec<_> = photographs.iter().take(3).map(|(_, image)| image).collect();
    let batch = model.features(preprocess.batch(&images, &device).unwrap());
    assert_eq!(batch.dims(), [3, config.tokens(), config.head_width]);
    for (n, image) in images.iter().enumerate() {
        let pixels = preprocess.batch(&[image], &device).unwrap();
        let map = model.forward_features(pixels.clone());
        let alone = values(model.features(pixels));
        let row_2_column_5 = values(map.slice([0..1, 0..1280, 2..3, 5..6]));
        assert_eq!(alone[19 * 1280..20 * 1280], row_2_column_5);
        let scale = alone.iter().fold(0f32, |m, v| m.max(v.abs()));
        let together = values(batch.clone().narrow(0, n, 1));
        assert_close("batch", together, &alone, scale, 1e-5);
    }
}

#[test]
fn gradients_reach_the_stem_and_spare_the_statistics() {
    let config: serde_json::Value = serde_json::from_slice(&fs::read(goldens("tiny/config.json")).unwrap()).unwrap();
    let device = Device::flex().autodiff();
    let model = EfficientNetConfig::from_hf(&config).unwrap().init(&device);
    let pixels = Tensor::random([2, 3, 32, 32], burn::tensor::Distribution::Default, &device);
    let gradients = model.forward(pixels.clone()).square().mean().backward();
    let stem = &model.conv_stem;
    let norm = &stem.norm;
    assert!(values(stem.weight.val().grad(&gradients).unwrap().abs().sum())[0] > 0.0);
    assert!(norm.weight.val().grad(&gradients).is_some());
    assert!(norm.running_mean.val().grad(&gradients).is_none());
    assert!(norm.running_var.val().grad(&gradients).is_none());

    let frozen = model.no_grad();
    assert!(!frozen.features(pixels).is_require_grad());
}
