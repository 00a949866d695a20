//! What is particular about LLaVA's folders (goldens: xtask/goldens/safe_llava.py). Every number of them is
//! compared in the workspace's own tests, for all families alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use safevlm_core::{Conversation, DeviceSpec, RgbImage};
use safevlm_family::{Family, FamilyError, LoadOptions, Loaded, TensorIndex, check, read_json};
use safevlm_nn::Padding;
use safevlm_safe_llava::{Layout, MODEL_TYPES, PUBLISHED, Processor};
use safevlm_weights::SafetensorsDir;
use serde_json::{Value, json};
use tempfile::TempDir;

const FOLDERS: [&str; 4] = ["tiny", "original", "gqa", "meta"];

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(folder)
}

fn device() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

/// A copy of a golden folder that may be changed.
fn copy(folder: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    for file in fs::read_dir(golden(folder)).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = read_json(path).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn open(dir: &Path) -> Result<Processor, FamilyError> {
    Processor::open(dir, &Processor::config(&read_json(&dir.join("config.json"))?)?)
}

fn question() -> Conversation {
    Conversation::new().user("How to get this?", [Arc::new(RgbImage::new(8, 8))])
}

/// The ids of the golden case that asks [`question`].
fn ids_of_question(folder: &str) -> Vec<u32> {
    let cases = read_json(&golden(folder).join("cases.json")).unwrap();
    let asks = |case: &&Value| case["turns"] == json!([["user", ["photo.png"], "How to get this?"]]);
    let case = cases.as_array().unwrap().iter().find(asks).unwrap();
    case["input_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn every_tensor_of_every_folder_has_its_place() {
    for folder in FOLDERS {
        let json = read_json(&golden(folder).join("config.json")).unwrap();
        assert!(MODEL_TYPES.contains(&json["model_type"].as_str().unwrap()));
        let config = Processor::config(&json).unwrap();
        let report = check::<Processor>(&config, &SafetensorsDir::open(&golden(folder)).unwrap()).unwrap();
        let none = report.missing.is_empty() && report.unused.is_empty() && report.misshapen.is_empty();
        assert!(none && !report.applied.is_empty(), "{folder}: {report:?}");
    }
}

#[test]
fn parts_are_as_the_folders_say() {
    let config = |folder| Processor::config(&read_json(&golden(folder).join("config.json")).unwrap()).unwrap();
    let (tiny, original, gqa, meta) = (config("tiny"), config("original"), config("gqa"), config("meta"));
    assert_eq!((tiny.layout(), tiny.tokens_per_image(), tiny.pad_to_square), (Layout::Transformers, 9, None));
    assert_eq!((original.layout(), original.tokens_per_image()), (Layout::Original, 9));
    assert_eq!(original.pad_to_square, Some(true));
    // Four patches and the class token, from two layers of width 32.
    assert_eq!((gqa.tokens_per_image(), gqa.vision.feature_width(), gqa.guard.is_none()), (5, 64, true));
    assert_eq!((gqa.text.num_key_value_heads, gqa.text.tie_word_embeddings), (2, true));
    assert_eq!((meta.visual_tokens(), meta.tokens_per_image()), (9, 10));
}

#[test]
fn pictures_are_cut_out_of_the_original_codes_text() {
    let processor = open(&golden("original")).unwrap();
    let ids = processor.prompt(&question()).unwrap();
    assert_eq!(ids, ids_of_question("original"));
    let image = processor.image_token().unwrap();
    assert_eq!(image as usize, read_json(&golden("original").join("config.json")).unwrap()["vocab_size"]);
    let last = ids.iter().rposition(|id| *id == image).unwrap();
    // The text behind a picture begins with a space of its own, and without a second `<s>`.
    assert_eq!(Some(ids[last + 1]), processor.tokenizer().id("▁"));
    assert_eq!(ids.iter().filter(|id| Some(**id) == processor.tokenizer().id("<s>")).count(), 1);
}

#[test]
fn a_typed_placeholder_is_no_picture() {
    for folder in FOLDERS {
        let processor = open(&golden(folder)).unwrap();
        let typed = Conversation::new().user("<image>\nUSER: <image></s>", []);
        let ids = processor.prompt(&typed).unwrap();
        assert!(!ids.contains(&processor.image_token().unwrap()), "{folder}");
        assert!(!ids.contains(&processor.tokenizer().id("</s>").unwrap()), "{folder}");
    }
}

#[test]
fn a_folder_without_a_chat_template_gets_the_published_one() {
    let dir = copy("tiny");
    fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    assert_eq!(open(dir.path()).unwrap().prompt(&question()).unwrap(), ids_of_question("tiny"));
    let own = copy("original");
    fs::write(own.path().join("chat_template.jinja"), "{% for m in messages %}{{ m['content'] }}{% endfor %}").unwrap();
    assert_ne!(open(own.path()).unwrap().prompt(&question()).unwrap(), ids_of_question("original"));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let refusal = |dir: &TempDir| open(dir.path()).unwrap_err().to_string();
    let dir = copy("tiny");
    change(&dir.path().join("config.json"), |config| config["image_token_index"] = json!(7));
    assert!(refusal(&dir).contains("<image>"), "{}", refusal(&dir));

    let dir = copy("tiny");
    change(&dir.path().join("processor_config.json"), |settings| {
        settings["image_processor"]["crop_size"] = json!({"height": 56, "width": 56});
    });
    assert!(refusal(&dir).contains("crop_size"), "{}", refusal(&dir));

    let dir = copy("original");
    fs::remove_file(dir.path().join("tokenizer.model")).unwrap();
    assert!(refusal(&dir).contains("tokenizer.json"), "{}", refusal(&dir));
}

#[test]
fn every_id_but_the_images_needs_an_embedding() {
    let dir = copy("original");
    let load = || {
        let config = read_json(&dir.path().join("config.json")).unwrap();
        Loaded::<Processor>::load(dir.path(), &config, &LoadOptions::default(), &device())
    };
    load().unwrap();
    change(&dir.path().join("config.json"), |config| config["vocab_size"] = json!(300));
    assert!(matches!(load(), Err(FamilyError::Vocabulary { rows: 300, .. })));
}

#[test]
fn an_encoder_that_stays_elsewhere_is_missed() {
    // LLaVA-1.5's own code can fetch it by its name.
    for published in PUBLISHED {
        let lines: Vec<_> = published.tensors.lines().filter(|line| !line.contains("vision_tower")).collect();
        let index = TensorIndex::parse(published.name, &lines.join("\n")).unwrap();
        let report = check::<Processor>(&Processor::config(&published.config()).unwrap(), &index).unwrap();
        assert!(!report.missing.is_empty() && report.missing.iter().all(|field| field.field.starts_with("vision.")));
    }
}

#[test]
fn the_original_layout_pads_to_squares() {
    let wide = RgbImage::from_fn(40, 10, |x, _| image::Rgb([(x * 6) as u8, 0, 0]));
    let pixels = |dir: &Path| {
        let inputs = open(dir).unwrap().inputs_of(vec![], Padding::Left, &[&wide], &device()).unwrap();
        let pixels = inputs.pixels.unwrap();
        assert_eq!(pixels.dims(), [1, 3, 42, 42]);
        pixels.into_data().try_into_vec::<f32>().unwrap()
    };
    let padded = pixels(&golden("original"));
    let dir = copy("original");
    change(&dir.path().join("config.json"), |config| config["image_aspect_ratio"] = json!("square"));
    let cropped = pixels(dir.path());
    // The ground of the mean colour is nearly 0 once normalised.
    assert!(padded[0].abs() < 0.02 && cropped[0].abs() > 0.5, "{} {}", padded[0], cropped[0]);
}
