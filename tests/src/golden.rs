//! Golden files of assembled models (xtask/goldens/safe_*.py): a checkpoint as the reference saves it, and what
//! the reference computes with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Tensor;
use safevlm::{Conversation, RgbImage};
use safevlm_family::read_json;
use safevlm_qwen_vision::Patches;
use safevlm_weights::{SafetensorsDir, TensorSource};
use serde_json::Value;

use crate::values;

/// The golden checkpoints of the model crate in `models/NAME`.
pub fn golden_folders(name: &str) -> Vec<PathBuf> {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name).join("tests/goldens");
    let folders = std::fs::read_dir(&goldens).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.join("config.json").is_file()).collect();
    folders.sort();
    assert!(folders.len() >= 3, "{}: at least three checkpoints", goldens.display());
    folders
}

/// What the reference computes with one checkpoint.
pub struct Golden {
    /// The checkpoint, as the reference saved it.
    pub dir: PathBuf,
    /// Conversations and their outputs.
    pub cases: Vec<Case>,
    stages: SafetensorsDir,
}

/// One conversation.
pub struct Case {
    /// Turns and images.
    pub conversation: Conversation,
    /// Token ids of the prompt, every image written as its visual tokens.
    pub prompt: Vec<u32>,
    /// The greedy answer.
    pub greedy: Vec<u32>,
    /// Probabilities of the 20 classes for each image; none without a guard head or images.
    pub guard: Option<Vec<Vec<f32>>>,
}

impl Golden {
    /// Reads the golden files beside a checkpoint.
    pub fn read(dir: &Path) -> Self {
        let cases = read_json(&dir.join("cases.json")).unwrap();
        let pictures = dir.join("../pictures");
        let cases = cases.as_array().unwrap().iter().map(|case| Case::read(case, &pictures)).collect();
        Self { dir: dir.to_owned(), cases, stages: SafetensorsDir::open(&dir.join("stages.safetensors")).unwrap() }
    }

    /// The reference's values of `stage` in case `nth`; none if the case has no such stage.
    pub fn stage(&self, nth: usize, stage: &str) -> Option<Vec<f32>> {
        let name = format!("{nth}.{stage}");
        self.stages.info(&name).map(|_| self.stages.read_f32(&name).unwrap())
    }
}

impl Case {
    fn read(case: &Value, pictures: &Path) -> Self {
        let mut conversation = Conversation::new();
        for turn in case["turns"].as_array().unwrap() {
            let image = |file: &Value| load(&pictures.join(file.as_str().unwrap()));
            let text = turn[2].as_str().unwrap();
            conversation = match turn[0].as_str().unwrap() {
                "system" => conversation.system(text),
                "user" => conversation.user(text, turn[1].as_array().unwrap().iter().map(image)),
                _ => conversation.assistant(text),
            };
        }
        let ids = |key: &str| serde_json::from_value(case[key].clone()).unwrap();
        let guard = serde_json::from_value(case["guard"].clone()).unwrap();
        Self { conversation, prompt: ids("input_ids"), greedy: ids("greedy_ids"), guard }
    }
}

fn load(path: &Path) -> Arc<RgbImage> {
    Arc::new(safevlm::load_image(path, &Default::default()).unwrap_or_else(|error| panic!("{error}")))
}

/// Pixels of any family.
pub trait PixelValues {
    /// On the host.
    fn values(&self) -> Vec<f32>;
}

impl PixelValues for Tensor<4> {
    fn values(&self) -> Vec<f32> {
        values(self.clone())
    }
}

impl PixelValues for Patches {
    fn values(&self) -> Vec<f32> {
        values(self.values.clone())
    }
}
