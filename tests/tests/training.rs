//! Training of every family: gradients against torch's autograd (goldens: xtask/goldens/gradients.py), and that a few
//! rows can be learned by heart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use safevlm::{Conversation, RgbImage};
use safevlm_family::{Family, LoadOptions, Loaded, ModelOf, eos_tokens, read_json};
use safevlm_nn::sampler::argmax;
use safevlm_nn::{CausalLm, LoraAdapterConfig, Padding, VisionEncoder};
use safevlm_tests::{Golden, assert_close, flex, values};
use safevlm_train::{Batch, Example, GroupedAdamW, Trainable, Turn, global_norm, joint_loss};
use safevlm_weights::{FieldPath, SafetensorsDir, TensorSource};

/// The same tests for each family, with the steps in which it learns eight rows.
macro_rules! families {
    ($($name:ident: $family:ty, $folder:literal, $steps:literal;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn gradients_equal_the_reference() {
                gradients_equal::<$family>(&tiny($folder));
            }

            #[test]
            fn eight_rows_are_learned_by_heart() {
                let dir = tiny($folder);
                let (model, losses) = overfit::<$family>(&dir, &flex(), &EVERYTHING, $steps);
                let last = losses.last().unwrap();
                assert!(*last < 0.02, "the loss ends at {last}: {losses:?}");
                knows_by_heart::<$family>(&dir, model);
            }
        }
    )*};
}

families! {
    safe_llava: safevlm_safe_llava::Processor, "safe-llava", 150;
    safe_qwen: safevlm_safe_qwen::Processor, "safe-qwen", 150;
    safe_gem: safevlm_safe_gem::Processor, "safe-gem", 500;
}

/// The rows of gradients.json.
fn examples(dir: &Path, image_token: u32) -> Vec<Example> {
    let cases = Golden::read(dir).cases;
    let rows = read_json(&dir.join("gradients.json")).unwrap()["rows"].clone();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let example = |row: &serde_json::Value| {
        let case = &cases[number(&row["case"]) as usize];
        let mut stem = case.prompt.clone();
        let question = stem.split_off(stem.iter().rposition(|id| *id == image_token).unwrap() + 1);
        let answer = row["answer"].as_array().unwrap().iter().map(|id| number(id) as u32).collect();
        Example {
            stem,
            turns: vec![Turn { question, answer, weight: 1.0, first_token: 1.0 }],
            label: Some(number(&row["label"]) as usize),
            images: case.conversation.images.clone(),
        }
    };
    rows.as_array().unwrap().iter().map(example).collect()
}

fn gradients_equal<F: Family>(dir: &Path) {
    let device = flex().autodiff();
    let config = read_json(&dir.join("config.json")).unwrap();
    let Loaded { mut model, family, report, .. } =
        Loaded::<F>::load(dir, &config, &LoadOptions::default(), &device).unwrap();
    model.guard = model.guard.map(|guard| guard.with_dropout(0.0));
    let model = model.set_require_grad(true);
    let examples = examples(dir, family.image_token().unwrap());
    let batch = Batch::new(&examples, family.image_token(), 0);
    let images: Vec<_> = examples.iter().flat_map(|example| &example.images).map(AsRef::as_ref).collect();
    let inputs = family.inputs(batch.sequences.clone(), &images, &device).unwrap();
    let features = inputs.pixels.map(|pixels| model.vision.encode(pixels));
    let losses = joint_loss(&model, &batch, &inputs.sequences, features, &device).unwrap();
    let golden = read_json(&dir.join("gradients.json")).unwrap();
    for (part, loss) in [("language", &losses.language), ("guard", &losses.guard)] {
        let (ours, theirs) = (values(loss.clone().unwrap())[0], golden[part].as_f64().unwrap() as f32);
        assert!((ours - theirs).abs() < 1e-4 * theirs.abs(), "{part}: {ours}, the reference {theirs}");
    }

    let gradients = GradientsParams::from_grads(losses.joint(1.0).unwrap().backward(), &model);
    let mut collected = Collected { gradients: &gradients, path: FieldPath::default(), found: BTreeMap::new() };
    model.visit(&mut collected);
    let theirs = SafetensorsDir::open(&dir.join("gradients.safetensors")).unwrap();
    let scales = theirs.names().into_iter().filter(|name| name.ends_with(".scale"));
    let greatest = scales.map(|name| theirs.read_f32(&name).unwrap()[0]).fold(0.0, f32::max);
    let mut compared = 0;
    for tensor in &report.applied {
        let ours = collected.found.remove(&tensor.field);
        let what = format!("the gradient of {}", tensor.name);
        match theirs.info(&tensor.name) {
            None => assert!(ours.is_none_or(|ours| ours.iter().all(|x| *x == 0.0)), "{what} should be none"),
            Some(_) => {
                let scale = theirs.read_f32(&format!("{}.scale", tensor.name)).unwrap()[0];
                let expected: Vec<f32> =
                    theirs.read_f32(&tensor.name).unwrap().into_iter().map(|value| value * scale).collect();
                let ours = ours.unwrap_or_else(|| panic!("{what} is missing"));
                // A key's bias moves all scores of a query alike: its gradient is nothing but rounding.
                match scale < 1e-6 * greatest {
                    true => assert!(ours.iter().all(|x| x.abs() < 1e-6 * greatest), "{what} should be nothing"),
                    // Stored in half precision, which is off by half a thousandth of a value.
                    false => assert_close(&what, &ours, &expected, 1e-3),
                }
                compared += 1;
            }
        }
    }
    assert_eq!(2 * compared, theirs.names().len(), "gradients without a parameter");
}

/// The family whose steps are compared on wgpu as well: each takes minutes on a GPU that is a program.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu_learns_alike() {
    let (dir, steps) = (tiny("safe-llava"), 20);
    let device = safevlm::DeviceSpec::Wgpu(None).open().unwrap().0;
    // Half of the kernels to compile, and what is usually trained.
    let sets = ["projector", "guard", "lora"];
    let (_, theirs) = overfit::<safevlm_safe_llava::Processor>(&dir, &device, &sets, steps);
    let (_, ours) = overfit::<safevlm_safe_llava::Processor>(&dir, &flex(), &sets, steps);
    assert!(ours[steps - 1] < 0.9 * ours[0], "nothing is learned: {ours:?}");
    for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() < 2e-2 * ours.max(0.1), "step {step}: flex {ours}, wgpu {theirs}");
    }
}

/// The family's tiny checkpoint.
fn tiny(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(family).join("tests/goldens/tiny")
}

/// What eight rows ask, answer and are.
const ROWS: [(&str, &str, usize); 8] = [
    ("What?", "A cat.", 0),
    ("How?", "No.", 16),
    ("Why?", "I cannot say.", 7),
    ("Who?", "Two.", 3),
    ("Where?", "There.", 19),
    ("When?", "Never", 1),
    ("Which?", "Both of them.", 12),
    ("Is it?", "It is", 5),
];

/// A picture of its own for each row: a corner of the cube of colours, with squares on it.
fn picture(nth: usize) -> Arc<RgbImage> {
    Arc::new(RgbImage::from_fn(24, 24, |x, y| {
        let shade = if (x / 6 + y / 6).is_multiple_of(2) { 0 } else { 30 };
        [0, 1, 2].map(|channel| if nth >> channel & 1 == 1 { 220 + shade } else { shade }).into()
    }))
}

fn conversation(nth: usize) -> Conversation {
    Conversation::new().user(ROWS[nth].0, [picture(nth)])
}

/// Behind a frozen norm and a frozen random head some tokens could never become certain.
const EVERYTHING: [&str; 5] = ["projector", "vision", "guard", "lora", "language_model"];

/// A model after some steps on all rows in which `sets` learn, and the loss before each.
fn overfit<F: Family>(dir: &Path, device: &Device, sets: &[&str], steps: usize) -> (ModelOf<F>, Vec<f32>) {
    let device = device.clone().autodiff();
    device.seed(7);
    let config = read_json(&dir.join("config.json")).unwrap();
    let Loaded { mut model, family, .. } = Loaded::<F>::load(dir, &config, &LoadOptions::default(), &device).unwrap();
    model.guard = model.guard.map(|guard| guard.with_dropout(0.0));
    let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(str::to_owned);
    model.language_model = model.language_model.attach_lora(&targets, &LoraAdapterConfig::new(8, 16.0));
    // The same adapters on every device.
    model = model.map(&mut Redraw { state: 5, path: FieldPath::default() });
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let trainable = Trainable::find(&model, &sets, None).unwrap();
    let mut optimizer = GroupedAdamW::with_settings(trainable.clone(), 0.0, 1.0);
    model = trainable.apply(model);
    let ends = eos_tokens(dir, &config).unwrap();
    let examples: Vec<Example> = (0..ROWS.len())
        .map(|nth| {
            let conversation = conversation(nth);
            let (mut stem, answer) = family.answered(&conversation, ROWS[nth].1, &ends).unwrap();
            let question = stem.split_off(stem.iter().rposition(|id| Some(*id) == family.image_token()).unwrap() + 1);
            let turns = vec![Turn { question, answer, weight: 1.0, first_token: 1.0 }];
            Example { stem, turns, label: Some(ROWS[nth].2), images: conversation.images }
        })
        .collect();
    let batch = Batch::new(&examples, family.image_token(), 0);
    let images: Vec<_> = examples.iter().flat_map(|example| &example.images).map(AsRef::as_ref).collect();
    let inputs = family.inputs(batch.sequences.clone(), &images, &device).unwrap();
    let pixels = inputs.pixels.unwrap();
    let mut losses = Vec::with_capacity(steps);
    for step in 0..steps {
        let share = 1.0 - step as f64 / steps as f64;
        let features = Some(model.vision.encode(pixels.clone()));
        let loss = joint_loss(&model, &batch, &inputs.sequences, features, &device).unwrap().joint(1.0).unwrap();
        losses.push(values(loss.clone().detach())[0]);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let rate = |set: &str| match set {
            "vision" => 5e-4,
            "guard" => 1e-2,
            _ => 3e-3,
        };
        let rates = sets.iter().map(|set| (set.clone(), share * rate(set))).collect();
        let norm = global_norm(&model, &gradients).unwrap();
        model = optimizer.step(model, gradients, norm, &rates);
    }
    (model, losses)
}

/// Gives the adapters' `A` values that do not depend on a device.
struct Redraw {
    state: u32,
    path: FieldPath,
}

impl ModuleMapper for Redraw {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.path.name().ends_with(".lora.a") {
            return param;
        }
        let state = &mut self.state;
        param.map(|value| {
            let mut next = || {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (*state >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            let drawn: Vec<f32> = (0..value.shape().num_elements()).map(|_| 0.5 * next()).collect();
            Tensor::from_data(TensorData::new(drawn, value.dims()), &value.device()).require_grad()
        })
    }
}

/// The trained model gives every row's answer, token by token, and class.
fn knows_by_heart<F: Family>(dir: &Path, model: ModelOf<F>) {
    let device = flex();
    let model = model.valid();
    let config = read_json(&dir.join("config.json")).unwrap();
    let family = F::open(dir, &F::config(&config).unwrap()).unwrap();
    let ends = eos_tokens(dir, &config).unwrap();
    for (nth, (_, answer, label)) in ROWS.iter().enumerate() {
        let conversation = conversation(nth);
        let (prompt, answer) = family.answered(&conversation, answer, &ends).unwrap();
        let row = [&prompt[..], &answer].concat();
        let images: Vec<_> = conversation.images.iter().map(AsRef::as_ref).collect();
        let inputs = family.inputs_of(vec![row], Padding::Right, &images, &device).unwrap();
        let visual = inputs.pixels.map(|pixels| model.visual_tokens(pixels, &device));
        let output = model.forward(&inputs.sequences, visual, None, &device).unwrap();
        let [_, tokens, width] = output.hidden.dims();
        let logits = values(model.language_model.logits(output.hidden.reshape([tokens, width])));
        let vocabulary = logits.len() / tokens;
        let said: Vec<u32> = logits.chunks(vocabulary).skip(prompt.len() - 1).take(answer.len()).map(argmax).collect();
        assert_eq!(said, answer, "row {nth}");
        assert_eq!(argmax(&values(output.guard.unwrap())) as usize, *label, "row {nth}");
    }
}

/// Gradients by field.
struct Collected<'a> {
    gradients: &'a GradientsParams,
    path: FieldPath,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Collected<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.found.insert(self.path.name(), values(gradient));
        }
    }
}
