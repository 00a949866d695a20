//! Tiny random encoders and the image processor, stage by stage against transformers
//! (xtask/goldens/qwen_vision.py).

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_core::image::RgbImage;
use safevlm_nn::PatchGrid;
use safevlm_qwen_vision::{
    PixelRange, QwenImageError, QwenImageProcessor, QwenVision, QwenVisionConfig, key_rules, smart_resize,
};
use safevlm_weights::{Allow, KeyMap, SafetensorsDir, TensorSource, collect_module, load_module};
use serde_json::{Value, json};

const NAMES: [&str; 2] = ["tiny", "tiny-clip"];

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn read_json(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(goldens(path)).unwrap()).unwrap()
}

fn flex() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

fn load(name: &str, device: &Device) -> QwenVision {
    let config = QwenVisionConfig::from_hf(&read_json(&format!("{name}/config.json"))["vision_config"]).unwrap();
    let rules = key_rules("");
    let keys = KeyMap::new(&rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    let weights = SafetensorsDir::open(&goldens(name).join("model.safetensors")).unwrap();
    load_module(config.init(device), &weights, &keys, &Allow::nothing()).unwrap().0
}

fn stages(name: &str) -> SafetensorsDir {
    SafetensorsDir::open(&goldens(name).join("stages.safetensors")).unwrap()
}

fn grids(stages: &dyn TensorSource) -> Vec<PatchGrid> {
    let numbers: Vec<usize> = stages.read_f32("grids").unwrap().iter().map(|n| *n as usize).collect();
    numbers.chunks(3).map(|g| PatchGrid { frames: g[0], rows: g[1], columns: g[2] }).collect()
}

fn patches(stages: &dyn TensorSource, device: &Device) -> Tensor<2> {
    let shape = stages.info("patches").unwrap().shape;
    Tensor::from_data(TensorData::new(stages.read_f32("patches").unwrap(), shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Largest difference, as a share of the largest reference value.
fn compare(stage: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{stage}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= 1e-5 * scale, "{stage} is the first stage that differs: by {worst} of {scale}");
}

/// The pictures that the golden script draws.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0, 1, 2].map(|c| ((x * 37 + y * 59 + c * 101 + x * y % 97 * 3) % 256) as u8))
    })
}

#[test]
fn every_stage_equals_the_reference() {
    for device in [flex(), flex().autodiff()] {
        for name in NAMES {
            let (model, stages) = (load(name, &device), stages(name));
            let (patches, grids) = (patches(&stages, &device), grids(&stages));
            let states = model.hidden_states(patches.clone(), &grids).unwrap();
            for (nth, state) in states.into_iter().enumerate() {
                let stage = if nth == 0 { "patch_embed".to_owned() } else { format!("blocks.{}", nth - 1) };
                compare(&format!("{name} {stage}"), &values(state), &stages.read_f32(&stage).unwrap());
            }
            let output = model.forward(patches, &grids).unwrap();
            assert_eq!(output.dims().to_vec(), stages.info("output").unwrap().shape);
            compare(&format!("{name} output"), &values(output), &stages.read_f32("output").unwrap());
        }
    }
}

#[test]
fn pictures_become_the_patches_of_the_tiny_encoder() {
    let (device, stages) = (flex(), stages("tiny"));
    let processor = QwenImageProcessor::from_hf(&read_json("tiny/preprocessor_config.json")).unwrap();
    let sizes = stages.read_f32("sizes").unwrap();
    let pictures: Vec<_> = sizes.chunks(2).map(|size| picture(size[0] as u32, size[1] as u32)).collect();
    let ours = processor.patches(&pictures.iter().collect::<Vec<_>>(), &device).unwrap();
    assert_eq!(ours.grids, grids(&stages));
    assert_eq!(values(ours.values), stages.read_f32("patches").unwrap());
}

#[test]
fn pictures_of_every_size_become_the_references_patches() {
    let device = flex();
    let golden = SafetensorsDir::open(&goldens("pixels.safetensors")).unwrap();
    for (nth, case) in read_json("pixels.json")["cases"].as_array().unwrap().iter().enumerate() {
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let (width, height) = (number(&case["width"]) as u32, number(&case["height"]) as u32);
        let processor = QwenImageProcessor::from_hf(&case["settings"]).unwrap();
        let ours = processor.patches(&[&picture(width, height)], &device).unwrap();
        let grid = PatchGrid::image(number(&case["grid"][1]), number(&case["grid"][2]));
        assert_eq!(ours.grids, [grid], "{width}x{height}");
        assert_eq!(processor.grid(width, height).unwrap(), grid);
        assert_eq!(json!(ours.values.dims()), case["patches"], "{width}x{height}");
        let sample: Vec<f32> = values(ours.values).into_iter().step_by(number(&case["stride"])).collect();
        assert_eq!(sample, golden.read_f32(&nth.to_string()).unwrap(), "{width}x{height}");
    }
}

#[test]
fn scaled_sizes_equal_the_references() {
    let cases = read_json("pixels.json");
    for case in cases["sizes"].as_array().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap();
        let (width, height) = (number("width") as u32, number("height") as u32);
        let range = PixelRange { min: number("min_pixels"), max: number("max_pixels") };
        match smart_resize(width, height, 28, range) {
            Ok((wide, high)) => assert_eq!(json!([wide, high]), case["resized"], "{case}"),
            Err(error) => assert!(case["resized"].is_null(), "{case}: {error}"),
        }
    }
}

#[test]
fn what_cannot_be_cut_is_an_error_before_anything_is_allocated() {
    let device = flex();
    let processor = QwenImageProcessor::default();
    let line = processor.patches(&[&RgbImage::new(2001, 10)], &device).unwrap_err();
    assert!(matches!(line, QwenImageError::AspectRatio { width: 2001, height: 10 }), "{line}");
    assert!(processor.patches(&[&RgbImage::new(0, 10)], &device).is_err());
    let large = QwenImageProcessor { pixels: PixelRange { min: 1 << 23, max: 1 << 24 }, ..processor.clone() };
    let dot = RgbImage::new(1, 1);
    let many = large.patches(&[&dot; 9], &device).unwrap_err();
    assert!(matches!(many, QwenImageError::TooManyPixels { .. }), "{many}");

    let refused = [
        ("do_resize", json!(false)),
        ("resample", json!(2)),
        ("image_processor_type", json!("SiglipImageProcessor")),
        ("min_pixels", json!(1 << 23)),
        ("max_pixels", json!("all")),
        ("patch_size", json!(0)),
        ("merge_size", json!(1000)),
        ("image_mean", json!([0.5, 0.5])),
        ("image_std", json!([0.5, 0.5, 0.0])),
    ];
    for (key, value) in refused {
        let message = QwenImageProcessor::from_hf(&json!({key: value})).unwrap_err().to_string();
        assert!(message.starts_with("preprocessor_config.json: ") && message.contains(key), "{message}");
    }
    let nested = json!({"image_processor": {"size": {"shortest_edge": 784, "longest_edge": 1568}}});
    assert_eq!(QwenImageProcessor::from_hf(&nested).unwrap().pixels, PixelRange { min: 784, max: 1568 });
    assert_eq!(QwenImageProcessor::from_hf(&json!({})).unwrap(), processor);
}

#[test]
fn images_do_not_see_each_other() {
    let device = flex();
    for name in NAMES {
        let (model, stages) = (load(name, &device), stages(name));
        let (patches, grids) = (patches(&stages, &device), grids(&stages));
        let together = values(model.forward(patches.clone(), &grids).unwrap());
        let mut alone = vec![];
        let mut start = 0;
        for grid in &grids {
            let part = patches.clone().narrow(0, start, grid.patches());
            alone.extend(values(model.forward(part, &[*grid]).unwrap()));
            start += grid.patches();
        }
        compare(&format!("{name} images alone"), &alone, &together);
    }
}

#[test]
fn a_patch_reaches_its_window_first_and_its_frame_next() {
    let device = flex();
    // Block 0 of `tiny` attends in windows of 4 x 4 patches, block 1 in frames; the first grid is 10 x 6.
    let (model, stages) = (load("tiny", &device), stages("tiny"));
    let (patches, grids) = (patches(&stages, &device), grids(&stages));
    let [count, width] = patches.dims();
    let mut changed = values(patches.clone());
    changed[..width].fill(2.0);
    let changed = Tensor::from_data(TensorData::new(changed, [count, width]), &device);
    let states = |patches| model.hidden_states(patches, &grids).unwrap();
    let touched = |nth: usize| {
        let (a, b) = (values(states(patches.clone())[nth].clone()), values(states(changed.clone())[nth].clone()));
        let rows = a.chunks(32).zip(b.chunks(32)).enumerate();
        rows.filter(|(_, (a, b))| a != b).map(|(row, _)| row).collect::<Vec<_>>()
    };
    assert_eq!(touched(0), [0]);
    // Visual tokens 0, 1 and those below them, 3 and 4, of four patches each.
    assert_eq!(touched(1), (0..8).chain(12..20).collect::<Vec<_>>());
    assert_eq!(touched(2), (0..60).collect::<Vec<_>>());
}

#[test]
fn patches_and_grids_must_fit() {
    let device = flex();
    let model = load("tiny", &device);
    let encode = |shape: [usize; 2], grid| {
        model.forward(Tensor::zeros(shape, &device), &[grid]).map(|output| output.dims()).map_err(|e| e.to_string())
    };
    assert_eq!(encode([8, 96], PatchGrid::image(2, 4)), Ok([2, 24]));
    assert!(encode([8, 96], PatchGrid::image(4, 4)).unwrap_err().contains("16 patches"));
    assert!(encode([8, 96], PatchGrid::image(8, 1)).unwrap_err().contains("8x1"));
    assert!(encode([8, 100], PatchGrid::image(2, 4)).unwrap_err().contains("100 values"));
    assert!(encode([8, 96], PatchGrid::image(0, 4)).unwrap_err().contains("without patches"));
}

#[test]
fn gradients_reach_every_parameter() {
    let device = flex().autodiff();
    for name in NAMES {
        let (model, stages) = (load(name, &device), stages(name));
        let output = model.forward(patches(&stages, &device), &grids(&stages)).unwrap();
        let target = Tensor::random(output.dims(), Distribution::Default, &device);
        let gradients = (output * target).square().sum().backward();
        let gradients = burn::optim::GradientsParams::from_grads(gradients, &model);
        assert_eq!(gradients.len(), collect_module(&model).unwrap().names().len(), "{name}");
    }
}
