//! Whole runs on a tiny model and stand-in pictures: in one test, because runs share the device's seed.

mod support;

use std::fs;
use std::path::Path;

use half::bf16;
use safevlm_core::DeviceSpec;
use safevlm_data::{PictureSets, Split};
use safevlm_train::{Mix, Recipe, Rows, Sample, Show, Source, Summary, Symbolic, TrainError, run_on};
use safevlm_weights::{ADAPTER_FILE, PeftAdapter, SafetensorsDir, TensorSource};
use serde_json::Value;
use support::{RECIPE, recipe, write_model};
use tempfile::TempDir;

/// Every stage; steps 1 to 6 use scenes 0..3, 3..5, 5..7, 7..9, 9..11 and 11..13.
const STAGES: &str = r#"
[[phase]]
name = "ground"
stage = "ground"
sets = ["projector", "vision"]
scenes = 3
steps = 1
batch = 2

[[phase]]
name = "guard"
stage = "guard"
steps = 1
batch = 2
micro_batch = 2

[[phase]]
name = "joint"
stage = "joint"
steps = 4
batch = 2
"#;

/// Trained tensors of the encoder from block 1 on: of four convolutions the weight and the norm's scale and shift,
/// but for the depthwise kernel.
const VISION: usize = 4 * 3 - 1;

/// Stand-in scenes that cannot be had from a number on, as if the run were killed there.
struct Until {
    scenes: Symbolic,
    end: usize,
}

impl Source for Until {
    fn count(&self) -> Option<usize> {
        None
    }

    fn sample(&self, number: usize) -> Result<Sample, TrainError> {
        match number < self.end {
            true => self.scenes.sample(number),
            false => Err(TrainError::Sample { id: format!("{number}"), reason: "killed".to_owned() }),
        }
    }
}

/// The scenes before `end`.
fn until(end: usize) -> Mix {
    let scenes = Symbolic::new(PictureSets::stand_in(Split::Train), 3);
    Mix::new(vec![(Box::new(Until { scenes, end }), None)], 3)
}

fn recipe_in(root: &Path, output: &str, text: &str) -> Recipe {
    let overrides =
        [format!("base={}", root.join("base").display()), format!("output={}", root.join(output).display())];
    recipe(text, &overrides.each_ref().map(String::as_str)).unwrap()
}

fn train(recipe: &Recipe, data: &Mix) -> Result<Summary, TrainError> {
    run_on(recipe, data, &DeviceSpec::Flex, Show::Nothing)
}

fn without_lora(recipe: &str) -> String {
    let (before, lora) = recipe.split_once("[lora]").unwrap();
    let (_, phases) = lora.split_once("[[phase]]").unwrap();
    format!("{before}[[phase]]{phases}")
}

/// The log's lines.
fn log(recipe: &Recipe) -> Vec<Value> {
    let text = fs::read_to_string(recipe.output.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn checkpoints(recipe: &Recipe) -> Vec<String> {
    let names = fs::read_dir(&recipe.output).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("checkpoint")).collect()
}

#[test]
fn runs_learn_and_can_be_killed() {
    let root = TempDir::new().unwrap();
    write_model(&root.path().join("base"));
    learns(root.path(), &until(usize::MAX));
    resumes(root.path(), &until(usize::MAX));
    validates(root.path());
    mixes(root.path());
    stays_silent(root.path());
    recomputes(root.path());
    explodes(root.path());
    halves(root.path());
}

/// Computed in bf16, with what is learned kept in f32: small steps are not lost, a killed run goes on to the last bit, and
/// the loss falls as it does in f32.
fn halves(root: &Path) {
    let data = || until(usize::MAX);
    let joint = RECIPE.find("[[phase]]").unwrap();
    let text =
        format!("vision_from = 1\n{}{STAGES}", &RECIPE[..joint]).replace("guard = 1e-2", "guard = 1e-2\nvision = 1e-3");
    let half = recipe_in(root, "half", &format!("precision = \"bf16\"\n{text}"));
    let summary = train(&half, &data()).unwrap();
    let single = recipe_in(root, "single", &text);
    train(&single, &data()).unwrap();
    for (half, single) in log(&half).iter().zip(log(&single)) {
        let losses = [half, &single].map(|line| line["loss"].as_f64().unwrap());
        assert!((losses[0] - losses[1]).abs() < 0.02 * losses[1], "{half} {single}");
    }
    let adapter = SafetensorsDir::open(&summary.adapter.join(ADAPTER_FILE)).unwrap();
    let guard = adapter.names().into_iter().find(|name| name.ends_with("img_safety_head.mlp.0.weight")).unwrap();
    let values = adapter.read_f32(&guard).unwrap();
    let exact = values.iter().filter(|value| bf16::from_f32(**value).to_f32() != **value).count();
    assert!(exact > values.len() / 2, "{exact} of {} values are more than bf16 holds", values.len());

    let killed = recipe_in(root, "half-killed", &format!("precision = \"bf16\"\n{text}"));
    assert!(train(&killed, &until(9)).is_err());
    train(&killed, &data()).unwrap();
    let bytes = |recipe: &Recipe| fs::read(recipe.output.join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(bytes(&killed), bytes(&half), "a resumed run ends elsewhere");
}

fn learns(root: &Path, data: &Mix) {
    let text = RECIPE
        .replace("lora = 1e-2", "language_model = 3e-2")
        .replace("checkpoint_every = 3", "checkpoint_every = 100");
    let text = without_lora(&text);
    let recipe = recipe_in(root, "learns", &text);
    let summary = train(&recipe, data).unwrap();
    assert_eq!((summary.steps, summary.samples), (6, 12));
    let lines = log(&recipe);
    assert_eq!(lines.len(), 6);
    let language: Vec<f64> = lines.iter().map(|line| line["language"].as_f64().unwrap()).collect();
    // A guess among 259 tokens, and then at least what English letters are common.
    assert!((5.0..6.2).contains(&language[0]), "{language:?}");
    assert!(language[5] < language[0] - 0.5, "the loss does not fall: {language:?}");
    for line in &lines {
        let sum = line["language"].as_f64().unwrap() + line["guard"].as_f64().unwrap();
        assert!((line["loss"].as_f64().unwrap() - sum).abs() < 1e-3, "{line}");
    }
    // The language model's own weights are exported under the checkpoint's names.
    let trained = SafetensorsDir::open(&summary.adapter.join(ADAPTER_FILE)).unwrap().names();
    let embeddings = "base_model.model.model.language_model.embed_tokens.weight";
    assert!(trained.iter().any(|name| name == embeddings), "{trained:?}");
    assert!(!trained.iter().any(|name| name.contains("vision_tower")), "{trained:?}");
}

fn resumes(root: &Path, data: &Mix) {
    let joint = RECIPE.find("[[phase]]").unwrap();
    let text = format!("vision_from = 1\n{}{STAGES}", &RECIPE[..joint]);
    let text = text.replace("guard = 1e-2", "guard = 1e-2\nvision = 1e-3");
    let whole = recipe_in(root, "whole", &text);
    let summary = train(&whole, data).unwrap();
    assert_eq!((summary.steps, summary.samples), (6, 3 + 5 * 2));
    let phases: Vec<_> = log(&whole).iter().map(|line| line["phase"].as_str().unwrap().to_owned()).collect();
    assert_eq!(phases, ["ground", "guard", "joint", "joint", "joint", "joint"]);

    // Killed in step 5: steps 1 to 3 are kept, step 4 is lost.
    let killed = recipe_in(root, "killed", &text);
    let error = train(&killed, &until(9)).unwrap_err();
    assert!(error.to_string().contains("killed"), "{error}");
    assert_eq!(checkpoints(&killed), ["checkpoint-000003"]);
    assert!(!killed.output.join("adapter").exists());
    let summary = train(&killed, data).unwrap();
    assert_eq!((summary.steps, summary.samples), (6, 3 * 2));
    let steps: Vec<_> = log(&killed).iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3, 4, 4, 5, 6]);
    let loss = |recipe: &Recipe| log(recipe).iter().map(|line| line["loss"].as_f64().unwrap()).next_back().unwrap();
    assert_eq!(loss(&killed), loss(&whole));

    // The same weights to the last bit, of the trained sets only.
    let bytes = |recipe: &Recipe| fs::read(recipe.output.join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(bytes(&killed), bytes(&whole), "a resumed run ends elsewhere");
    let exported = SafetensorsDir::open(&whole.output.join("adapter/adapter_model.safetensors")).unwrap().names();
    let adapters = exported.iter().filter(|name| name.contains(".lora_")).count();
    assert_eq!((exported.len(), adapters), (4 + 4 + 2 * 2 * 2 + VISION, 2 * 2 * 2), "{exported:?}");
    assert!(exported.iter().any(|name| name.ends_with("language_model.layers.1.mlp.down_proj.lora_B.weight")));

    // What earlier phases have learned is there to begin from, without what is drawn for later ones.
    let after = |phase: &str| {
        let folder = whole.output.join("phases").join(phase);
        let _whole_adapter = PeftAdapter::open(&folder).unwrap();
        SafetensorsDir::open(&folder.join(ADAPTER_FILE)).unwrap().names()
    };
    let ground = after("ground");
    assert_eq!(ground.len(), 4 + VISION, "{ground:?}");
    assert!(ground.iter().all(|name| name.contains("vision_tower") || name.contains("projector")), "{ground:?}");
    assert_eq!(after("guard").len(), exported.len());
    assert!(!whole.output.join("phases/joint").exists(), "the last phase's is the adapter itself");

    overlays(root, &whole);

    // A finished run has nothing left to do, another recipe must not go on from it, a damaged
    // checkpoint is named.
    assert_eq!(checkpoints(&killed), ["checkpoint-000006"]);
    let before = bytes(&killed);
    assert_eq!(train(&killed, &until(0)).unwrap().samples, 0);
    assert_eq!(bytes(&killed), before);
    let mut other = killed.clone();
    other.seed += 1;
    let error = train(&other, data).unwrap_err();
    assert!(
        matches!(error, TrainError::OtherRecipe { .. }) && error.to_string().contains("checkpoint-000006"),
        "{error}"
    );
    for file in ["optimizer.safetensors", "trained.safetensors", "state.json"] {
        let path = killed.output.join("checkpoint-000006").join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = train(&killed, data).unwrap_err();
        assert!(matches!(error, TrainError::Checkpoint { .. }), "{file}: {error}");
        assert!(error.to_string().contains("remove it to begin again"), "{file}: {error}");
        fs::write(&path, whole).unwrap();
    }
}

/// Conversations without pictures.
fn write_talks(path: &Path, count: usize) {
    let talk = |nth: usize| {
        let turn = |from: &str, value: String| serde_json::json!({ "from": from, "value": value });
        let turns = [turn("human", format!("Number {nth}?")), turn("gpt", format!("It is {nth}."))];
        serde_json::json!({ "id": nth, "conversations": turns }).to_string()
    };
    fs::write(path, (0..count).map(talk).collect::<Vec<_>>().join("\n")).unwrap();
}

/// A run that no longer gets better ends, and when it is begun again it has nothing to do.
fn validates(root: &Path) {
    let talks = root.join("talks.jsonl");
    write_talks(&talks, 5);
    let validation = format!(
        "validation = {{ every = 2, samples = 5, patience = 1, data = [{{ kind = \"llava\", path = {talks:?} }}] }}"
    );
    // With such rates, which rise, the loss rises.
    let text = format!("{validation}\n{}", without_lora(RECIPE)).replace("lora = 1e-2", "language_model = 0.3");
    let text = text.replace("warmup = 0.1", "warmup = 1.0");
    let recipe = recipe_in(root, "validated", &text);
    let summary = train(&recipe, &until(usize::MAX)).unwrap();
    let lines = log(&recipe);
    let measured: Vec<f64> =
        lines.iter().filter(|line| line["phase"] == "validation").map(|line| line["loss"].as_f64().unwrap()).collect();
    assert!(measured.len() >= 2 && measured[1] >= measured[0], "{measured:?}");
    assert_eq!((summary.steps, checkpoints(&recipe)), (4, vec!["checkpoint-000004".to_owned()]));
    assert_eq!(train(&recipe, &until(0)).unwrap().samples, 0);
    assert_eq!(log(&recipe).len(), lines.len());
}

/// Scenes and conversations in one run, which ends with the same weights when it was killed on the way.
fn mixes(root: &Path) {
    let talks = root.join("talks.jsonl");
    let mixed = |end: usize| {
        let scenes = Symbolic::new(PictureSets::stand_in(Split::Train), 3);
        let talks = Rows::llava(&talks, None).unwrap();
        let scenes = Box::new(Until { scenes, end });
        Mix::new(vec![(scenes, Some(1.0)), (Box::new(talks), Some(2.0))], 3)
    };
    assert_eq!(mixed(0).epoch(), Some(5));
    // Numbers always mean the same samples, in whatever order they are asked for, and an epoch has every row once.
    let (forwards, backwards) = (mixed(usize::MAX), mixed(usize::MAX));
    let ids = |mix: &Mix, numbers: &mut dyn Iterator<Item = usize>| -> Vec<String> {
        numbers.map(|number| mix.sample(number).unwrap().id).collect()
    };
    let there = ids(&forwards, &mut (0..40));
    let mut back = ids(&backwards, &mut (0..40).rev());
    back.reverse();
    assert_eq!(there, back);
    let rows: Vec<&String> = there.iter().filter(|id| id.starts_with("row")).collect();
    assert!((20..35).contains(&rows.len()), "{} rows of 40", rows.len());
    for epoch in rows.chunks_exact(5) {
        let mut once = epoch.to_vec();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), 5, "{epoch:?}");
    }

    let whole = recipe_in(root, "mixed", RECIPE);
    train(&whole, &mixed(usize::MAX)).unwrap();
    let killed = recipe_in(root, "mixed-killed", RECIPE);
    assert!(train(&killed, &mixed(3)).is_err());
    assert_eq!(checkpoints(&killed), ["checkpoint-000003"]);
    train(&killed, &mixed(usize::MAX)).unwrap();
    let bytes = |recipe: &Recipe| fs::read(recipe.output.join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(bytes(&killed), bytes(&whole));

    // Grounding and the guard pass over what has no picture.
    let joint = RECIPE.find("[[phase]]").unwrap();
    let stages =
        format!("{}{STAGES}", &RECIPE[..joint]).replace(", \"vision\"]", "]").replace("scenes = 3", "scenes = 8");
    let staged = recipe_in(root, "mixed-stages", &stages);
    train(&staged, &mixed(usize::MAX)).unwrap();
    let talks = Mix::new(vec![(Box::new(Rows::llava(&talks, None).unwrap()), None)], 3);
    let talked = recipe_in(root, "talked", &stages);
    assert!(matches!(train(&talked, &talks), Err(TrainError::NoSubject)));
}

/// Scenes of which no question is left, as an ablation's may be.
struct Silent(Symbolic);

impl Source for Silent {
    fn count(&self) -> Option<usize> {
        None
    }

    fn sample(&self, number: usize) -> Result<Sample, TrainError> {
        let sample = self.0.sample(number)?;
        // One that is grounded, one that is guarded, and all of the joint phase but the first two.
        let silent = [1, 4].contains(&number) || number >= 7;
        Ok(Sample { exchanges: if silent { vec![] } else { sample.exchanges.clone() }, ..sample })
    }
}

/// A picture without questions still has a class, and a name to be grounded in.
fn stays_silent(root: &Path) {
    let joint = RECIPE.find("[[phase]]").unwrap();
    let text = format!("{}{STAGES}", &RECIPE[..joint]).replace(", \"vision\"]", "]");
    let recipe = recipe_in(root, "silent", &text);
    let scenes = Silent(Symbolic::new(PictureSets::stand_in(Split::Train), 3));
    train(&recipe, &Mix::new(vec![(Box::new(scenes), None)], 3)).unwrap();
    let joint: Vec<Value> = log(&recipe).into_iter().filter(|line| line["phase"] == "joint").collect();
    let answered: Vec<bool> = joint.iter().map(|line| line["language"].is_f64()).collect();
    assert_eq!(answered, [true, false, false, false]);
    assert!(joint.iter().all(|line| line["guard"].is_f64()), "a picture without questions has a class: {joint:?}");
}

/// What is computed again on the way back comes out the same.
fn recomputes(root: &Path) {
    let plain = recipe_in(root, "kept", RECIPE);
    let again = recipe_in(root, "recomputed", &format!("gradient_checkpointing = true\n{RECIPE}"));
    let losses = [plain, again].map(|recipe| {
        train(&recipe, &until(usize::MAX)).unwrap();
        log(&recipe).iter().map(|line| line["loss"].as_f64().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(losses[0].len(), 6);
    for (kept, recomputed) in losses[0].iter().zip(&losses[1]) {
        assert!((kept - recomputed).abs() < 1e-4, "{losses:?}");
    }
}

/// A loss that is no number ends the run before any parameter has learned from it, and says where it came from.
fn explodes(root: &Path) {
    let recipe = recipe_in(root, "explodes", &RECIPE.replace("guard = 1e-2", "guard = 1e38"));
    let error = train(&recipe, &until(usize::MAX)).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let message = error.to_string();
    for part in ["at step 2", "scene 12884901890, scene 12884901891", "weight NaN", "lower the learning rates"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(checkpoints(&recipe).is_empty());
}

/// The export, laid over the base model as an import does, is the trained model: what was trained of the
/// encoder comes from the run, the rest and every statistic from the base.
fn overlays(root: &Path, recipe: &Recipe) {
    let read = |source: &dyn TensorSource, name: &str| source.read_f32(name).unwrap();
    let base = SafetensorsDir::open(&root.join("base")).unwrap();
    let trained = SafetensorsDir::open(&recipe.output.join("checkpoint-000006/trained.safetensors")).unwrap();
    let adapter = PeftAdapter::open(&recipe.output.join("adapter")).unwrap();
    let merged = adapter.merge(&base).unwrap();
    let mut learned = 0;
    for name in base.names().iter().filter(|name| name.starts_with("vision_tower.")) {
        let field = name.replacen("vision_tower.", "vision.", 1);
        match trained.info(&field) {
            Some(_) => {
                assert!(!name.contains("running_") && !name.contains("blocks.0") && !name.contains("conv_stem"));
                assert_ne!(read(&merged, name), read(&base, name), "{name} did not learn");
                for (ours, theirs) in read(&merged, name).iter().zip(read(&trained, &field)) {
                    assert!((ours - theirs).abs() <= 1e-3 * theirs.abs().max(1e-3), "{name}: {ours} {theirs}");
                }
                learned += 1;
            }
            None => assert_eq!(read(&merged, name), read(&base, name), "{name}"),
        }
    }
    assert_eq!(learned, VISION);
}
