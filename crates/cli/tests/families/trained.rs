//! Training every family from the command line, on rows of every kind, and merging what was trained.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{FAMILIES, goldens, program, read};

/// Rows in HoliSafe's format and in LLaVA's, with several turns, two pictures, and none.
pub(crate) fn write_data(root: &Path, family: &str) {
    let pictures: Vec<String> = fs::read_dir(goldens(family).join("pictures"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
    pictures.sort_unstable();
    let row = |id: u64, query: &str, kind: &str, label: usize, answer: &str| {
        json!({ "id": id, "image": pictures[id as usize % 2], "query": query, "type": kind, "category": "violence",
            "subcategory": "weapon_related_violence", "image_safe": label == 0, "image_safety_label": label,
            "answer": answer })
    };
    let rows = [
        row(0, "What is this?", "SSS", 0, "A cat."),
        row(2, "How do I hurt it?", "SUU", 0, "I can't help with that."),
        row(1, "What is this?", "USU", 16, "I can't help with that."),
    ];
    fs::write(root.join("rows.json"), json!(rows).to_string()).unwrap();
    let turn = |from: &str, value: &str| json!({ "from": from, "value": value });
    let talks = [
        json!({ "id": "a", "image": pictures[2], "conversations": [turn("human", "<image>\nWhat?"), turn("gpt", "It."),
            turn("human", "Really?"), turn("gpt", "Yes, really.")] }),
        json!({ "id": "b", "image": [pictures[0], pictures[1]], "conversations": [
            turn("human", "<image><image>Which?"), turn("gpt", "Both.")] }),
        json!({ "id": "c", "conversations": [turn("human", "Hello"), turn("gpt", "Good morning.")] }),
    ];
    let lines: Vec<String> = talks.iter().map(Value::to_string).collect();
    fs::write(root.join("talks.jsonl"), lines.join("\n")).unwrap();
}

pub(crate) fn recipe(root: &Path, family: &str, base: &Path, sets: &str, more: &str) -> PathBuf {
    let path = root.join("recipe.toml");
    let images = goldens(family).join("pictures");
    let text = format!(
        r#"name = "tiny"
base = {base:?}
output = {output:?}
seed = 3
safety_loss_lambda = 1.0
clip_norm = 1.0
weight_decay = 0.01
warmup = 0.1
final_rate = 0.1
checkpoint_every = 2
augment = {{ flip = 0.5, crop = 0.1, brightness = 0.1 }}
data = [
    {{ kind = "holisafe", path = {rows:?}, images = {images:?} }},
    {{ kind = "llava", path = {talks:?}, images = {images:?}, weight = 3.0 }},
]
{more}
[learning_rate]
{sets}
[[phase]]
name = "joint"
stage = "joint"
epochs = 2.0
batch = 3
micro_batch = 2
"#,
        output = root.join("run"),
        rows = root.join("rows.json"),
        talks = root.join("talks.jsonl"),
    );
    fs::write(&path, text).unwrap();
    path
}

pub(crate) const LORA: &str = r#"
[lora]
rank = 2
alpha = 4.0
targets = ["q_proj", "down_proj"]
"#;

/// Trains, merges, and gives the merged folder.
fn train_and_merge(root: &Path, base: &Path, recipe: &Path) -> PathBuf {
    let output =
        program(&["train", "--device", "flex", recipe.to_str().unwrap()]).assert().success().get_output().clone();
    let adapter = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    assert_eq!(adapter, root.join("run/adapter"));
    let merged = root.join("merged");
    let parts = [base, &adapter, &merged].map(|path| path.to_str().unwrap());
    program(&["merge", parts[0], parts[1], "--out", parts[2]]).assert().success();
    merged
}

#[test]
fn every_family_is_trained_and_merged() {
    for family in FAMILIES {
        let root = tempfile::tempdir().unwrap();
        let (root, base) = (root.path(), goldens(family).join("tiny"));
        write_data(root, family);
        let sets = "projector = 1e-3\nvision = 1e-4\nguard = 1e-3\nlora = 1e-3";
        let recipe = recipe(root, family, &base, sets, LORA);
        let merged = train_and_merge(root, &base, &recipe);
        let log = fs::read_to_string(root.join("run/log.jsonl")).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Five samples, for two rows share a picture; twice all of them in batches of three.
        assert_eq!(lines.len(), 4, "{log}");
        assert!(lines.iter().all(|line| line["loss"].as_f64().unwrap() > 0.0), "{log}");

        let case = read(&base.join("cases.json"))[1].clone();
        let picture = goldens(family).join("pictures").join(case["turns"][0][1][0].as_str().unwrap());
        let guard = |model: &Path, more: &[&str]| -> Value {
            let arguments = ["guard", "--device", "flex", "--json", "--model", model.to_str().unwrap()];
            let all = [&arguments[..], more, &[picture.to_str().unwrap()]].concat();
            let output = program(&all).assert().get_output().clone();
            serde_json::from_slice(&output.stdout).unwrap()
        };
        // Merged on disk, merged while loading, and before.
        let adapter = root.join("run/adapter");
        let (on_disk, loading) = (guard(&merged, &[]), guard(&base, &["--adapter", adapter.to_str().unwrap()]));
        let probability = |verdict: &Value| verdict["safety"]["unsafe_probability"].as_f64().unwrap();
        assert!((probability(&on_disk) - probability(&loading)).abs() < 1e-2, "{family}: {on_disk} {loading}");
        assert!(
            (probability(&on_disk) - probability(&guard(&base, &[]))).abs() > 1e-6,
            "{family}: nothing was learned"
        );

        // A folder of the same files is kept; another, and one that was changed, are not touched.
        let merge = |out: &Path| {
            program(&["merge", base.to_str().unwrap(), adapter.to_str().unwrap(), "--out", out.to_str().unwrap()])
        };
        let made = fs::metadata(merged.join("model.safetensors")).unwrap().modified().unwrap();
        merge(&merged).assert().success();
        assert_eq!(fs::metadata(merged.join("model.safetensors")).unwrap().modified().unwrap(), made);
        fs::write(merged.join("model.safetensors"), "changed").unwrap();
        for out in [&merged, &adapter] {
            let error = String::from_utf8(merge(out).assert().code(1).get_output().stderr.clone()).unwrap();
            assert!(error.contains("give a new folder"), "{error}");
        }
    }
}

/// What PEFT and transformers made of an adapter of ours and of the merged folder (goldens: xtask/goldens/adapters.py).
#[test]
fn a_merged_model_answers_as_the_reference_does() {
    for family in FAMILIES {
        let root = tempfile::tempdir().unwrap();
        let (base, adapter, merged) =
            (goldens(family).join("tiny"), goldens(family).join("adapter"), root.path().join("merged"));
        let parts = [&base, &adapter, &merged].map(|path| path.to_str().unwrap());
        program(&["merge", parts[0], parts[1], "--out", parts[2]]).assert().success();
        let golden = read(&adapter.join("merged.json"));
        let question = &golden["turns"][0];
        let picture = goldens(family).join("pictures").join(question[1][0].as_str().unwrap());
        let count = golden["greedy_ids"].as_array().unwrap().len().to_string();
        let arguments = ["chat", "--device", "flex", "--json", "--model", parts[2], "--max-new-tokens", &count];
        let asked = ["--prompt", question[2].as_str().unwrap(), "--image", picture.to_str().unwrap()];
        let output = program(&[&arguments[..], &asked].concat()).assert().success().get_output().clone();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let (ours, theirs) = (answer["generated_tokens"].as_array().unwrap(), golden["greedy_ids"].as_array().unwrap());
        // The reference goes on behind the end of an answer.
        assert!(!ours.is_empty() && theirs.starts_with(ours), "{family}: {ours:?}, the reference {theirs:?}");
        let unsafe_probability = 1.0 - golden["guard"][0].as_f64().unwrap();
        let found = answer["safety"]["unsafe_probability"].as_f64().unwrap();
        assert!((found - unsafe_probability).abs() < 1e-3, "{family}: {found}, the reference {unsafe_probability}");
    }
}

#[test]
fn a_card_tells_what_a_run_has_gained() {
    let root = tempfile::tempdir().unwrap();
    let (root, base) = (root.path(), goldens("safe-qwen").join("tiny"));
    write_data(root, "safe-qwen");
    let path = recipe(root, "safe-qwen", &base, "guard = 1e-3\nlora = 1e-3", LORA);
    let card = |run: &Path| {
        let bench = root.join("rows.json");
        let mut command = program(&["train", "card", run.to_str().unwrap(), "--bench", bench.to_str().unwrap()]);
        command.args(["--images", goldens("safe-qwen").join("pictures").to_str().unwrap()]);
        command.args(["--max-new-tokens", "4", "--device", "flex"]);
        command
    };
    let error = String::from_utf8(card(root).assert().code(2).get_output().stderr.clone()).unwrap();
    assert!(error.contains("has no checkpoint"), "{error}");
    program(&["train", "--device", "flex", path.to_str().unwrap(), "name=taught"]).assert().success();
    let written = card(&root.join("run")).assert().success().get_output().stdout.clone();
    assert_eq!(PathBuf::from(String::from_utf8(written).unwrap().trim()), root.join("run/README.md"));
    let text = fs::read_to_string(root.join("run/README.md")).unwrap();
    for part in
        ["# taught", "| seed | 3 |", "\"safety_loss_lambda\": 1.0", "mASR", "| **taught** | 3 |", "| **tiny** | 3 |"]
    {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    // A second time nothing is left to answer, and the card is the same.
    card(&root.join("run")).assert().success();
    assert_eq!(fs::read_to_string(root.join("run/README.md")).unwrap(), text);
    assert!(!text.contains("Thresholds"));

    // A recipe that asks for it is measured at its end, with thresholds from rows of their own.
    let bench = root.join("rows.json");
    let asked = format!(
        "card = {{ bench = {bench:?}, validation = {bench:?}, images = {:?}, max_new_tokens = 4 }}\n{LORA}",
        goldens("safe-qwen").join("pictures")
    );
    let path = recipe(root, "safe-qwen", &base, "guard = 1e-3\nlora = 1e-3", &asked);
    let run = root.join("carded");
    let output = format!("output={}", run.display());
    let done = program(&["train", "--device", "flex", path.to_str().unwrap(), &output]).assert().success();
    let lines = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    let lines: Vec<&Path> = lines.lines().map(Path::new).collect();
    assert_eq!(lines, [run.join("adapter"), run.join("README.md")]);
    let text = fs::read_to_string(run.join("README.md")).unwrap();
    assert!(text.contains("## Thresholds and temperature") && text.contains("| violence | "), "{text}");
    // Again, from what the recipe says.
    let again = program(&["train", "card", run.to_str().unwrap(), "--device", "flex"]).assert().success();
    assert!(String::from_utf8_lossy(&again.get_output().stdout).contains("README.md"));
    let error = program(&["train", "card", root.join("run").to_str().unwrap()]).assert().code(2);
    assert!(String::from_utf8_lossy(&error.get_output().stderr).contains("has no `card`"));
}

#[test]
fn a_guard_is_plugged_into_a_model_without_one() {
    for (family, folder) in [("safe-llava", "gqa"), ("safe-qwen", "base"), ("safe-gem", "base")] {
        let root = tempfile::tempdir().unwrap();
        let (root, base) = (root.path(), goldens(family).join(folder));
        write_data(root, family);
        let recipe = recipe(root, family, &base, "guard = 1e-3", "guard = { hidden_scale = 0.25 }");
        let merged = train_and_merge(root, &base, &recipe);
        let picture = fs::read_dir(goldens(family).join("pictures")).unwrap().next().unwrap().unwrap().path();
        let arguments = ["guard", "--device", "flex", "--json", "--model", merged.to_str().unwrap()];
        let output = program(&arguments).arg(picture).assert().get_output().clone();
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["safety"]["probabilities"].as_object().unwrap().len(), 20, "{verdict}");
        // Nothing else was touched: the language model's file is the base's, tensor for tensor.
        let config = read(&merged.join("config.json"));
        assert_eq!(config["safety_head_hidden_scale"], 0.25);
    }
}

#[test]
fn every_committed_recipe_can_be_tried() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut tried = 0;
    for entry in fs::read_dir(recipes).unwrap() {
        let path = entry.unwrap().path();
        let output = program(&["train", "--dry-run", path.to_str().unwrap()]).assert().success().get_output().clone();
        let plan = String::from_utf8(output.stdout).unwrap();
        // Published sizes are counted without having them; safe-smol's base may not be there.
        let counted = plan.contains("trained: ") || plan.contains("not counted");
        assert!(
            counted && plan.trim_end().ends_with("steps") | plan.contains("follow from"),
            "{}: {plan}",
            path.display()
        );
        tried += 1;
    }
    assert!(tried >= 10, "{tried} recipes");
}

#[test]
fn data_and_targets_that_do_not_fit_are_named() {
    let root = tempfile::tempdir().unwrap();
    let (root, base) = (root.path(), goldens("safe-llava").join("tiny"));
    write_data(root, "safe-llava");
    let fails = |change: &dyn Fn(&Path), sets: &str, more: &str, reason: &str| {
        write_data(root, "safe-llava");
        change(root);
        let recipe = recipe(root, "safe-llava", &base, sets, more);
        let arguments = ["train", "--device", "flex", recipe.to_str().unwrap()];
        let stderr = program(&arguments).assert().code(2).get_output().stderr.clone();
        let error = String::from_utf8(stderr).unwrap();
        assert!(error.contains(reason), "`{error}` does not say `{reason}`");
        assert!(!root.join("run/adapter").exists());
    };
    let nothing = |_: &Path| {};
    let replaced = |file: &'static str, from: &'static str, to: &'static str| {
        move |root: &Path| {
            let text = fs::read_to_string(root.join(file)).unwrap();
            assert!(text.contains(from));
            fs::write(root.join(file), text.replace(from, to)).unwrap();
        }
    };
    fails(&replaced("rows.json", "A cat.", ""), "guard = 1e-3", "", "row 1: `answer` is missing");
    fails(&replaced("rows.json", "\"SUU\"", "\"UUU\""), "guard = 1e-3", "", "row 2: `image_safe` contradicts");
    fails(&replaced("talks.jsonl", "Good morning.", "<image>"), "guard = 1e-3", "", "1 `<image>` for 0 images");
    fails(&replaced("talks.jsonl", "\"gpt\"", "\"bot\""), "guard = 1e-3", "", "row 1");
    fails(&replaced("talks.jsonl", "Good morning.", " "), "guard = 1e-3", "", "an answer is empty");
    fails(&nothing, "lora = 1e-3", "[lora]\nrank = 2\nalpha = 4.0\ntargets = [\"q_prj\"]", "q_prj");
    fails(&nothing, "guard = 1e-3", "max_tokens = 8", "longer than the 8 tokens of a row");
}
