//! What the workspace-level tests share: models and golden files, loaded the same way for every family, and
//! comparisons.

mod golden;
mod invariants;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use safevlm::{Cache, Conversation, DeviceSpec, RgbImage, registry};
use safevlm_family::{Family, Inputs, LoadOptions, Loaded, ModelOf, read_json};
use safevlm_nn::{CausalLm, Padding, Sequences, VlmOutput};

pub use golden::{Case, Golden, PixelValues, golden_folders};
pub use invariants::{assert_gradients_reach_what_is_trainable, assert_invariants};

/// The folder of a model of the zoo, imported into the cache when it is not there.
pub fn model_dir(name: &str) -> PathBuf {
    static IMPORT: Mutex<()> = Mutex::new(());
    let _one_at_a_time = IMPORT.lock();
    registry::import(name, None, &Cache::open(None).unwrap(), false).unwrap()
}

/// The processor's device, without autodiff.
pub fn flex() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

/// A model on one device, without dropout.
pub struct Checkpoint<F: Family> {
    /// The graph.
    pub model: ModelOf<F>,
    /// Pixels and prompts.
    pub family: F,
    /// Sizes.
    pub config: F::Config,
    /// Where it is.
    pub device: Device,
}

impl<F: Family> Checkpoint<F> {
    /// Loads the folder `dir` onto `device`.
    pub fn load(dir: &Path, device: &Device) -> Self {
        let config = read_json(&dir.join("config.json")).unwrap();
        let loaded = Loaded::<F>::load(dir, &config, &LoadOptions::default(), device);
        let Loaded { mut model, family, config, .. } = loaded.unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        // Dropout is active on an autodiff device unless it is frozen.
        model.guard = model.guard.map(Module::freeze);
        Self { model, family, config, device: device.clone() }
    }

    /// The inputs of one conversation.
    pub fn inputs(&self, conversation: &Conversation) -> Inputs<F> {
        let prompt = self.family.prompt(conversation).unwrap();
        self.family.inputs_of(vec![prompt], Padding::Left, &images(conversation), &self.device).unwrap()
    }

    /// The graph's outputs for `rows`, whose pictures are `images` in reading order.
    pub fn run(&self, rows: Vec<Vec<u32>>, padding: Padding, images: &[&RgbImage]) -> (Sequences, VlmOutput) {
        let inputs = self.family.inputs_of(rows, padding, images, &self.device).unwrap();
        let output = self.forward(&inputs);
        (inputs.sequences, output)
    }

    /// The graph's outputs.
    pub fn forward(&self, inputs: &Inputs<F>) -> VlmOutput {
        let visual = inputs.pixels.clone().map(|pixels| self.model.visual_tokens(pixels, &self.device));
        self.model.forward(&inputs.sequences, visual, None, &self.device).unwrap()
    }

    /// Logits of the last token of each row.
    pub fn last_logits(&self, output: &VlmOutput) -> Vec<f32> {
        let [batch, tokens, width] = output.hidden.dims();
        let last = output.hidden.clone().narrow(1, tokens - 1, 1).reshape([batch, width]);
        values(self.model.language_model.logits(last))
    }
}

/// The images of a conversation.
pub fn images(conversation: &Conversation) -> Vec<&RgbImage> {
    conversation.images.iter().map(AsRef::as_ref).collect()
}

/// One of the pictures that the examples bring.
pub fn picture(name: &str) -> RgbImage {
    safevlm::load_image(workspace().join("examples/pictures").join(name), &Default::default()).unwrap()
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A question about one of the pictures that the examples bring.
pub fn ask(name: &str, question: &str) -> Conversation {
    Conversation::new().user(question, [Arc::new(picture(name))])
}

/// A tensor's values on the host.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// Asserts that the largest difference is at most `tolerance` of the largest reference value.
#[track_caller]
pub fn assert_close(what: &str, ours: &[f32], reference: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), reference.len(), "{what}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |most, v| most.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, |worst, d| worst.max(d));
    assert!(ours.iter().all(|v| v.is_finite()), "{what}: not finite");
    assert!(worst <= tolerance * scale, "{what}: differs by {worst} of {scale}");
}
