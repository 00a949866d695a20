//! The processor against transformers' (goldens by xtask/goldens/siglip.py): every value equal, to the
//! last bit.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safevlm_core::{DeviceSpec, ImageLimits, RgbImage, load_image};
use safevlm_siglip::{SiglipProcessor, SiglipVisionConfig};
use safevlm_weights::{SafetensorsDir, TensorSource};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const IMAGES: [&str; 6] = ["portrait", "landscape", "tiny", "line", "column", "exact"];

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

fn image(name: &str) -> RgbImage {
    load_image(goldens(&format!("images/{name}.png")), &ImageLimits::default()).unwrap()
}

/// An encoder that takes squares of `side` pixels.
fn encoder(side: u64) -> SiglipVisionConfig {
    SiglipVisionConfig::from_hf(&json!({"image_size": side, "patch_size": 1})).unwrap()
}

fn values(pixels: Tensor<4>) -> Vec<f32> {
    pixels.into_data().try_into_vec::<f32>().unwrap()
}

fn settings() -> serde_json::Map<String, Value> {
    serde_json::from_str(&std::fs::read_to_string(goldens("processors.json")).unwrap()).unwrap()
}

#[test]
fn every_value_equals_the_references() {
    let golden = SafetensorsDir::open(&goldens("processors.safetensors")).unwrap();
    let settings = settings();
    assert_eq!(settings.len(), 5);
    for (setting, described) in &settings {
        let side = described["side"].as_u64().unwrap();
        let processor = SiglipProcessor::from_hf(&described["preprocessor_config"], &encoder(side)).unwrap();
        assert_eq!(processor.pan_and_scan().is_some(), setting.starts_with("pan"));
        for name in IMAGES {
            let what = format!("{setting}.{name}");
            let views = processor.views(&image(name), &device()).unwrap();
            let shape = golden.info(&what).unwrap().shape;
            let step = if shape.len() == 4 { 1 } else { 8191 };
            let expected = if step == 1 { shape } else { vec![1, 3, side as usize, side as usize] };
            assert_eq!(views.dims().to_vec(), expected, "{what}");
            let ours = values(views);
            for (at, (a, b)) in ours.iter().step_by(step).zip(&golden.read_f32(&what).unwrap()).enumerate() {
                assert_eq!(a, b, "{what}: value {}, channel first", at * step);
            }
            let bytes: Vec<u8> = ours.iter().flat_map(|value| value.to_le_bytes()).collect();
            let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, described["sha256"][name], "{what}: a value that is not in the sample differs");
        }
    }
}

#[test]
fn a_folder_without_the_file_gets_gemma_3s() {
    let gemma = SiglipVisionConfig::preset("so400m-patch14-896").unwrap();
    let file = &settings()["gemma3"]["preprocessor_config"];
    assert_eq!(SiglipProcessor::new(&gemma).unwrap(), SiglipProcessor::from_hf(file, &gemma).unwrap());
    let nested = json!({"processor_class": "Gemma3Processor", "image_processor": file});
    assert_eq!(SiglipProcessor::new(&gemma).unwrap(), SiglipProcessor::from_hf(&nested, &gemma).unwrap());
}

#[test]
fn a_batch_is_its_images_one_behind_the_other() {
    let processor = SiglipProcessor::new(&encoder(28)).unwrap();
    let images = IMAGES.map(image);
    let batch = values(processor.pixels(&images.iter().collect::<Vec<_>>(), &device()).unwrap());
    let alone = images.iter().flat_map(|image| values(processor.views(image, &device()).unwrap()));
    assert_eq!(batch, alone.collect::<Vec<f32>>());
}

#[test]
fn a_file_for_another_encoder_is_refused() {
    for size in [json!(224), json!({"height": 896, "width": 448}), json!({"shortest_edge": 896})] {
        let message = SiglipProcessor::from_hf(&json!({"size": size}), &encoder(896)).unwrap_err().to_string();
        assert!(message.contains("size") || message.contains("do_center_crop"), "{message}");
    }
    let pan = json!({"size": 28, "do_pan_and_scan": true, "pan_and_scan_max_num_crops": 1000});
    let message = SiglipProcessor::from_hf(&pan, &encoder(28)).unwrap_err().to_string();
    assert!(message.contains("pan_and_scan_max_num_crops"), "{message}");
    assert!(SiglipProcessor::new(&encoder(28)).unwrap().pixels(&[&RgbImage::new(0, 0)], &device()).is_err());
}
