//! What is particular about Gemma 3's prompts and image settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use safevlm_core::{Conversation, RgbImage};
use safevlm_family::{Family, FamilyError, read_json};
use safevlm_safe_gem::{END_OF_IMAGE, IMAGE_TOKEN, Processor, START_OF_IMAGE};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The golden folder `name`.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// A copy of the golden folder `name` that may be changed.
fn copy(name: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

/// Changes a JSON file of a folder.
fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = read_json(path).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// The processor of a folder.
fn open(dir: &Path) -> Result<Processor, FamilyError> {
    let config = Processor::config(&read_json(&dir.join("config.json")).unwrap())?;
    Processor::open(dir, &config)
}

/// A golden conversation with grey images: their pixels make no difference to a prompt.
fn conversation(turns: &Value) -> Conversation {
    turns.as_array().unwrap().iter().fold(Conversation::new(), |conversation, turn| {
        let text = turn[2].as_str().unwrap();
        let images = turn[1].as_array().unwrap().iter().map(|_| Arc::new(RgbImage::new(4, 3)));
        match turn[0].as_str().unwrap() {
            "system" => conversation.system(text),
            "user" => conversation.user(text, images),
            _ => conversation.assistant(text),
        }
    })
}

fn image() -> Arc<RgbImage> {
    Arc::new(RgbImage::new(5, 4))
}

#[test]
fn prompts_equal_the_references_with_and_without_a_template() {
    for name in ["tiny", "projector", "base"] {
        let cases = read_json(&golden(name).join("cases.json")).unwrap();
        let bare = copy(name);
        for file in ["chat_template.jinja", "chat_template.json"] {
            std::fs::remove_file(bare.path().join(file)).ok();
        }
        for processor in [open(&golden(name)).unwrap(), open(bare.path()).unwrap()] {
            for case in cases.as_array().unwrap() {
                let ids = processor.prompt(&conversation(&case["turns"])).unwrap();
                assert_eq!(json!(ids), case["input_ids"], "{name}: {}", case["turns"]);
            }
        }
    }
}

#[test]
fn line_ends_around_images_are_joined() {
    let processor = open(&golden("tiny")).unwrap();
    let id = |token| processor.tokenizer().id(token).unwrap();
    let ids = processor.prompt(&Conversation::new().user("", [image(), image()])).unwrap();
    // `user\n` and the image's own two line ends are one token of three, two images' are one of four.
    let at = |token| ids.iter().position(|i| *i == id(token)).unwrap();
    assert_eq!(ids[at(START_OF_IMAGE) - 1], id("\n\n\n"));
    assert_eq!(ids[at(END_OF_IMAGE) + 1], id("\n\n\n\n"));
    assert_eq!(ids.iter().filter(|i| **i == id(IMAGE_TOKEN)).count(), 32);
}

#[test]
fn nobody_can_type_an_image() {
    // Even where the tokenizer's file does not call the tokens special.
    let dir = copy("tiny");
    change(&dir.path().join("tokenizer.json"), |tokenizer| {
        for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
            if token["content"].as_str().unwrap().contains("image") {
                token["special"] = json!(false);
            }
        }
    });
    for processor in [open(&golden("tiny")).unwrap(), open(dir.path()).unwrap()] {
        for token in [START_OF_IMAGE, IMAGE_TOKEN, END_OF_IMAGE, "<end_of_turn>", "<start_of_turn>"] {
            let count = |text: &str, token: &str| {
                let ids = processor.prompt(&Conversation::new().user(text, [image()])).unwrap();
                let id = processor.tokenizer().id(token).unwrap();
                ids.iter().filter(|i| **i == id).count()
            };
            assert_eq!(count(&format!("a {token}{token} b"), token), count("a b", token), "{token}");
        }
    }
}

#[test]
fn a_folder_without_image_settings_has_gemmas_own() {
    let dir = copy("projector");
    std::fs::remove_file(dir.path().join("preprocessor_config.json")).unwrap();
    // What is left says how long an image is, and nothing of its pixels.
    assert!(open(dir.path()).is_ok());
    std::fs::remove_file(dir.path().join("processor_config.json")).unwrap();
    let device = burn::tensor::Device::flex();
    let pixels = |folder: &Path| {
        let processor = open(folder).unwrap();
        let picture = RgbImage::from_fn(40, 21, |x, y| [x as u8 * 6, y as u8 * 12, 99].into());
        let inputs = processor.inputs_of(vec![vec![2]], safevlm_nn::Padding::Left, &[&picture], &device).unwrap();
        inputs.pixels.unwrap().into_data().try_into_vec::<f32>().unwrap()
    };
    assert_eq!(pixels(dir.path()), pixels(&golden("projector")));
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let refused = |file: &str, key: &str, value: Value| {
        let dir = copy("projector");
        change(&dir.path().join(file), |settings| settings[key] = value);
        let message = open(dir.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("`{key}`")), "{file}: {message}");
        message
    };
    let message = refused("preprocessor_config.json", "do_pan_and_scan", json!(true));
    assert!(message.contains("expected false"), "{message}");
    refused("preprocessor_config.json", "size", json!({"height": 56, "width": 56}));
    refused("preprocessor_config.json", "image_seq_length", json!(256));
    let message = refused("processor_config.json", "image_seq_length", json!(5));
    assert!(message.contains("expected 4"), "{message}");

    // As transformers 5 nests them.
    let dir = copy("tiny");
    change(&dir.path().join("processor_config.json"), |settings| {
        settings["image_processor"]["do_pan_and_scan"] = json!(true);
    });
    assert!(open(dir.path()).unwrap_err().to_string().contains("`do_pan_and_scan`"));
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let dir = copy("base");
    change(&dir.path().join("config.json"), |config| config["image_token_index"] = json!(12));
    assert!(open(dir.path()).unwrap_err().to_string().contains(IMAGE_TOKEN));
    for token in [START_OF_IMAGE, END_OF_IMAGE] {
        let dir = copy("base");
        let path = dir.path().join("tokenizer.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(token, "<another>")).unwrap();
        assert!(open(dir.path()).unwrap_err().to_string().contains(token));
    }
}
