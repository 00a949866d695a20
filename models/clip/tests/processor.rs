//! The processor against transformers' (goldens by xtask/goldens/clip.py): every value equal, to the
//! last bit.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safevlm_clip::{ClipProcessor, ClipVisionConfig};
use safevlm_core::{DeviceSpec, ImageLimits, RgbImage, load_image};
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
fn encoder(side: u64) -> ClipVisionConfig {
    ClipVisionConfig::from_hf(&json!({"image_size": side, "patch_size": 1})).unwrap()
}

fn pixels(processor: &ClipProcessor, images: &[&RgbImage]) -> Vec<f32> {
    processor.pixels(images, &device()).unwrap().into_data().try_into_vec::<f32>().unwrap()
}

#[test]
fn every_value_equals_the_references() {
    let text = std::fs::read_to_string(goldens("processors.json")).unwrap();
    let settings: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let golden = SafetensorsDir::open(&goldens("processors.safetensors")).unwrap();
    assert_eq!(settings.len(), 7);
    for (setting, described) in &settings {
        let side = described["side"].as_u64().unwrap();
        let processor = ClipProcessor::from_hf(&described["preprocessor_config"], &encoder(side)).unwrap();
        for name in IMAGES {
            let what = format!("{setting}.{name}");
            let ours = pixels(&processor, &[&image(name)]);
            assert_eq!(ours.len() as u64, 3 * side * side, "{what}");
            let kept = golden.read_f32(&what).unwrap();
            let step = if kept.len() == ours.len() { 1 } else { 997 };
            for (at, (a, b)) in ours.iter().step_by(step).zip(&kept).enumerate() {
                assert_eq!(a, b, "{what}: value {}, channel first", at * step);
            }
            let bytes: Vec<u8> = ours.iter().flat_map(|value| value.to_le_bytes()).collect();
            let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, described["sha256"][name], "{what}: a value that is not in the sample differs");
        }
    }
}

#[test]
fn a_folder_without_the_file_gets_clips_own() {
    let text = std::fs::read_to_string(goldens("processors.json")).unwrap();
    let settings: Value = serde_json::from_str(&text).unwrap();
    let llava = ClipVisionConfig::preset("vit-large-patch14-336").unwrap();
    let read = |setting: &str| ClipProcessor::from_hf(&settings[setting]["preprocessor_config"], &llava).unwrap();
    assert_eq!(ClipProcessor::new(&llava).unwrap(), read("llava"));
    let padded = ClipProcessor::new(&llava).unwrap();
    let padded = padded.with_aspect_ratio_of(&json!({"image_aspect_ratio": "pad"})).unwrap();
    assert_eq!(padded, read("llava-pad"));
    assert!(padded.pads() && !padded.clone().with_padding(false).pads());
    // Silence changes nothing; what is not done is refused.
    assert_eq!(padded.clone().with_aspect_ratio_of(&json!({})).unwrap(), padded);
    let message = padded.with_aspect_ratio_of(&json!({"image_aspect_ratio": "anyres"})).unwrap_err().to_string();
    assert!(message.contains("anyres") && message.contains("image_aspect_ratio"), "{message}");
}

#[test]
fn a_batch_is_its_images_one_behind_the_other() {
    let processor = ClipProcessor::new(&encoder(28)).unwrap();
    let images = IMAGES.map(image);
    let batch = pixels(&processor, &images.iter().collect::<Vec<_>>());
    let alone: Vec<f32> = images.iter().flat_map(|image| pixels(&processor, &[image])).collect();
    assert_eq!(batch, alone);
}

#[test]
fn a_file_for_another_encoder_is_refused() {
    let file = json!({"size": 224, "crop_size": 224});
    let message = ClipProcessor::from_hf(&file, &encoder(336)).unwrap_err().to_string();
    assert!(message.contains("224") && message.contains("336") && message.contains("crop_size"), "{message}");
    assert!(ClipProcessor::from_hf(&json!({}), &encoder(336)).is_err(), "transformers' default is 224");
    assert!(ClipProcessor::new(&encoder(28)).unwrap().pixels(&[&RgbImage::new(0, 0)], &device()).is_err());
}
