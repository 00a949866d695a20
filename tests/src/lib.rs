//! What the workspace-level tests share: the real models, imported once, and comparisons.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use safevlm::{Cache, registry};
use safevlm_nn::{CausalLm, Padding, Sequences, VlmOutput};
use safevlm_safe_smol::{Processor, SafeSmol, SafeSmolConfig};
use safevlm_weights::{Allow, SafetensorsDir, load_module};

/// The folder of a model of the zoo, imported into the cache when it is not there.
pub fn model_dir(name: &str) -> PathBuf {
    static IMPORT: Mutex<()> = Mutex::new(());
    let _one_at_a_time = IMPORT.lock();
    registry::import(name, &Cache::open(None).unwrap(), false).unwrap()
}

/// safe-smol on one device.
pub struct Smol {
    /// The graph.
    pub model: SafeSmol,
    /// Pixels and prompts.
    pub processor: Processor,
    /// Sizes.
    pub config: SafeSmolConfig,
    /// Where it is.
    pub device: Device,
}

impl Smol {
    /// Loads the real safe-smol onto `device`.
    pub fn load(device: &Device) -> Self {
        let dir = model_dir("safe-smol");
        let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
        let config = SafeSmolConfig::from_hf(&serde_json::from_str(&text).unwrap()).unwrap();
        let weights = SafetensorsDir::open(&dir).unwrap();
        let keys = safevlm_safe_smol::key_map();
        let (mut model, _) = load_module(config.init(device), &weights, &keys, &Allow::nothing()).unwrap();
        // Dropout is active on an autodiff device unless it is frozen.
        model.guard = model.guard.map(Module::freeze);
        let processor = Processor::from_dir(&dir, &config).unwrap();
        Self { model, processor, config, device: device.clone() }
    }

    /// The graph's outputs for `rows`, whose pictures are `images` in reading order.
    pub fn run(&self, rows: Vec<Vec<u32>>, padding: Padding, images: &[&safevlm::RgbImage]) -> (Sequences, VlmOutput) {
        let sequences = Sequences::new(rows, Some(self.config.image_token), 0, padding);
        let pixels = self.processor.pixels(images, &self.device).unwrap();
        let visual = self.model.visual_tokens(pixels);
        let output = self.model.forward(&sequences, Some(visual), None, &self.device).unwrap();
        (sequences, output)
    }

    /// Logits of the last token of each row.
    pub fn last_logits(&self, output: &VlmOutput) -> Vec<f32> {
        let [batch, tokens, width] = output.hidden.dims();
        let last = output.hidden.clone().narrow(1, tokens - 1, 1).reshape([batch, width]);
        values(self.model.language_model.logits(last))
    }
}

/// A tensor's values on the host.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// Asserts that the largest difference is at most `tolerance` of the largest reference value.
pub fn assert_close(what: &str, ours: &[f32], reference: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), reference.len(), "{what}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |most, v| most.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= tolerance * scale, "{what}: differs by {worst} of {scale}");
}

/// A picture of the repository.
pub fn picture(name: &str) -> safevlm::RgbImage {
    safevlm::load_image(workspace().join("examples/pictures").join(name), &Default::default()).unwrap()
}

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}
