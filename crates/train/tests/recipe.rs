//! Recipes, their overrides, and the schedule that follows from them.

mod support;

use std::fs;
use std::path::Path;

use safevlm_data::Combination;
use safevlm_train::{Phase, Recipe, Stage, TrainError, learning_rate};
use support::{RECIPE, recipe};
use tempfile::TempDir;

fn message(text: &str, overrides: &[&str]) -> String {
    let error = recipe(text, overrides).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn a_recipe_is_read_with_its_defaults() {
    let recipe = recipe(RECIPE, &[]).unwrap();
    assert_eq!((recipe.seed, recipe.steps(), recipe.checkpoint_every), (3, 6, 3));
    assert_eq!(recipe.learning_rate.len(), 3);
    let lora = recipe.lora.as_ref().unwrap();
    assert_eq!((lora.rank, lora.targets.len()), (2, 2));
    let phase = &recipe.phase[0];
    assert_eq!((phase.stage, phase.micro_batch, phase.scenes, phase.rate), (Stage::Joint, 1, 1, 1.0));
    assert!(recipe.weight.is_empty());
}

#[test]
fn the_committed_recipes_are_some() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let read = |name: &str| Recipe::read(&folder.join(name), &[]).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 15, "{names:?}");
    for name in &names {
        let recipe = read(name);
        assert_eq!(format!("{}.toml", recipe.name), *name);
        assert_eq!(recipe.output, Path::new("runs").join(&recipe.name));
        // A checkpoint holds the recipe as JSON, and is refused when it differs.
        let json = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
    }
    // What the ablations change one thing of is what the committed weights are made with, but for its length.
    let (whole, joint) = (read("safe-smol.toml"), read("safe-smol-joint.toml"));
    let last = whole.phase.last().unwrap();
    assert_eq!(joint.phase, [Phase { steps: joint.phase[0].steps, ..last.clone() }]);
    assert_eq!(whole.base, "safe-smol-base");
    let Recipe { name, base, output, phase, .. } = joint.clone();
    assert_eq!(joint, Recipe { name, base, output, phase, ..whole });
}

#[test]
fn a_recipe_may_extend_another() {
    let root = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    let read = |name: &str, overrides: &[String]| Recipe::read(&root.path().join(name), overrides);
    fs::create_dir(root.path().join("inner")).unwrap();
    write("base.toml", RECIPE);
    write("inner/middle.toml", "extends = \"../base.toml\"\nseed = 4\n[lora]\nrank = 1");
    write("top.toml", "extends = \"inner/middle.toml\"\nclip_norm = 3.0\n[weight]\nSSS = 2.0");
    let recipe = read("top.toml", &["lora.alpha=9.0".to_owned()]).unwrap();
    let plain = read("base.toml", &[]).unwrap();
    let lora = recipe.lora.clone().unwrap();
    assert_eq!((recipe.seed, recipe.clip_norm, lora.rank, lora.alpha), (4, 3.0, 1, 9.0));
    assert_eq!((lora.targets, recipe.phase), (plain.lora.unwrap().targets, plain.phase));
    assert_eq!(recipe.weight[&Combination::Sss], 2.0);

    write("list.toml", "extends = \"base.toml\"\nphase = []");
    write("number.toml", "extends = 1");
    write("missing.toml", "extends = \"nowhere.toml\"");
    write("round.toml", "extends = \"round.toml\"");
    for (name, reason) in [
        ("list.toml", "at least one learning_rate"),
        ("number.toml", "number.toml: is no valid recipe (extends is the path of a recipe)"),
        ("missing.toml", "nowhere.toml: cannot be read"),
        ("round.toml", "at most 8 recipes extend one another"),
    ] {
        let message = read(name, &[]).unwrap_err().to_string();
        assert!(message.contains(reason), "{name}: {message}");
    }
}

#[test]
fn overrides_reach_dotted_keys() {
    let weighted = RECIPE.replace("[lora]", "[weight]\nSSS = 2.0\n\n[lora]");
    let overrides =
        ["learning_rate.lora=1e-4", "seed=9", "output=runs/other", "lora.rank=4", "weight.SSS=3", "name=\"a b\""];
    let recipe = recipe(&weighted, &overrides).unwrap();
    assert_eq!(recipe.learning_rate["lora"], 1e-4);
    assert_eq!(recipe.learning_rate["guard"], 1e-2);
    assert_eq!((recipe.seed, recipe.lora.as_ref().unwrap().rank, recipe.weight[&Combination::Sss]), (9, 4, 3.0));
    assert_eq!((recipe.output.as_path(), recipe.name.as_str()), (Path::new("runs/other"), "a b"));
}

#[test]
fn overrides_reach_into_lists_and_add_what_may_be_left_out() {
    let text = RECIPE.replace("[learning_rate]", "data = [{ kind = \"llava\", path = \"a.json\" }]\n\n[learning_rate]");
    let overrides =
        ["data.0.path=b.json", "data.0.images=pictures", "phase.0.steps=9", "phase.0.rate=0.5", "max_tokens=64"];
    let recipe = recipe(&text, &overrides).unwrap();
    assert_eq!(recipe.data[0].path.as_deref(), Some(Path::new("b.json")));
    assert_eq!(recipe.data[0].images.as_deref(), Some(Path::new("pictures")));
    assert_eq!((recipe.phase[0].steps, recipe.phase[0].rate, recipe.max_tokens), (9, 0.5, Some(64)));
    for given in ["data.1.path=x", "data.path=x", "data.x.path=x", "phase.0.stepps=1", "phase.0=1"] {
        assert!(matches!(support::recipe(&text, &[given]).unwrap_err(), TrainError::Override { .. }), "{given}");
    }
}

#[test]
fn a_phase_has_sets_and_weights_of_its_own() {
    let weighted = RECIPE.replace("[lora]", "[weight]\nSSS = 2.0\nUSU = 1.5\n\n[lora]");
    let recipe = recipe(&format!("{weighted}sets = [\"lora\"]\n[phase.weight]\nSSS = 3.0"), &[]).unwrap();
    let phase = &recipe.phase[0];
    let trained = ["projector", "guard", "lora", "vision"].map(|set| phase.trains(&recipe, set));
    assert_eq!(trained, [false, false, true, false]);
    let weights = [Combination::Sss, Combination::Usu, Combination::Uuu].map(|c| phase.weight_of(&recipe, Some(c)));
    assert_eq!(weights, [3.0, 1.5, 1.0]);
    assert_eq!(phase.weight_of(&recipe, None), 1.0);
    let every = support::recipe(RECIPE, &[]).unwrap();
    assert!(every.phase[0].trains(&every, "guard") && !every.phase[0].trains(&every, "vision"));
}

#[test]
fn what_overrides_nothing_is_an_error() {
    for given in ["seed", "sed=1", "learning_rate.vission=1", "seed.lora=1", "nothing.at.all=1", "=1", ""] {
        let error = recipe(RECIPE, &[given]).unwrap_err();
        assert!(matches!(error, TrainError::Override { .. }), "{given}: {error}");
        assert!(error.to_string().contains(&format!("`{given}`")), "{error}");
    }
}

#[test]
fn unknown_and_missing_keys_are_named() {
    let added = |line: &str| format!("{line}\n{RECIPE}");
    assert!(message(&added("sed = 1"), &[]).contains("unknown field `sed`"));
    assert!(message(&RECIPE.replace("rank = 2", "rnk = 2"), &[]).contains("unknown field `rnk`"));
    assert!(message(&format!("{RECIPE}answers = true"), &[]).contains("unknown field `answers`"));
    assert!(message(&RECIPE.replace("seed = 3", ""), &[]).contains("missing field `seed`"));
    let other = RECIPE.replace("stage = \"joint\"", "stage = \"jiont\"");
    assert!(message(&other, &[]).contains("unknown variant `jiont`"));
    assert!(message("", &[]).contains("is no valid recipe"));
    assert!(message("seed = = 1", &[]).contains("compare it with recipes/safe-smol.toml"));
    let missing = Recipe::read(Path::new("no/such/recipe.toml"), &[]).unwrap_err();
    assert!(missing.to_string().contains("no/such/recipe.toml: cannot be read"), "{missing}");
}

#[test]
fn values_that_cannot_train_are_named() {
    for (given, reason) in [
        ("phase=[]", "at least one learning_rate, one phase and one source of data are needed"),
        ("data=[]", "at least one learning_rate, one phase and one source of data are needed"),
        ("seed=many", "expected u64 in `seed`"),
        ("clip_norm=0", "clip_norm must be above 0"),
        ("clip_norm=nan", "clip_norm must be above 0"),
        ("checkpoint_every=0", "checkpoint_every must be above 0"),
        ("lora.rank=0", "lora.rank must be above 0"),
        ("precision=f16", "gradients overflow f16"),
        ("guard={dropout=1.0}", "guard.dropout must be 0 or more, and below 1"),
        ("lora={rank=1,alpha=1.0,dropout=1.0,targets=[]}", "lora.dropout must be 0 or more, and below 1"),
        ("card={}", "a card is measured on a bench"),
        ("card={scenes=1,bench=\"a\"}", "a card is measured on a bench"),
        ("card={scenes=0}", "card.scenes must be above 0"),
        ("lora.rank=4294967296", "lora.rank must be 65536 at most"),
        ("phase.0.batch=9223372036854775807", "phase.batch must be 1048576 at most"),
        ("phase.0.steps=9223372036854775807", "phase.steps must be 1099511627776 at most"),
        ("learning_rate.guard=-1.0", "learning_rate.guard must be above 0"),
        ("learning_rate.guard=inf", "learning_rate.guard must be above 0"),
        ("warmup=1.5", "warmup must be from 0 to 1"),
        ("final_rate=-0.1", "final_rate must be from 0 to 1"),
        ("weight_decay=nan", "weight_decay must be from 0 to 1"),
        ("safety_loss_lambda=-1.0", "safety_loss_lambda must be 0 or more"),
    ] {
        let message = message(RECIPE, &[given]);
        assert!(message.contains(reason), "{given}: {message}");
    }
    for (key, value) in [("batch", "0"), ("micro_batch", "0"), ("scenes", "0"), ("rate", "0.0"), ("first_token", "0.0")]
    {
        let text = RECIPE.replace("batch = 2\n", if key == "batch" { "" } else { "batch = 2\n" });
        let message = message(&format!("{text}{key} = {value}"), &[]);
        assert!(message.contains(&format!("phase.{key} must be above 0")), "{message}");
    }
    let of_phase = format!("{RECIPE}\n[phase.weight]\nSSU = -1.0");
    assert!(message(&of_phase, &[]).contains("weight.SSU must be above 0"));
    let unknown = format!("{RECIPE}\nsets = [\"lora\", \"vision\"]");
    assert!(message(&unknown, &[]).contains("phase.sets names vision, which has no learning_rate"));
    assert!(message(&format!("vision_from = 1\n{RECIPE}"), &[]).contains("needs a learning_rate.vision"));
    let vision = RECIPE.replace("guard = 1e-2", "guard = 1e-2\nvision = 1e-2");
    assert_eq!(recipe(&vision, &[]).unwrap().vision_from, None);
    assert_eq!(recipe(&format!("vision_from = 1\n{vision}"), &[]).unwrap().vision_from, Some(1));
    let lora = RECIPE.replace("lora = 1e-2\n", "");
    assert!(message(&lora, &[]).contains("learning_rate.lora and [lora] go together"));
    for (line, reason) in [("epochs = 2.0", "steps or epochs: give one"), ("epochs = 0.0", "steps or epochs: give one")]
    {
        assert!(message(&format!("{RECIPE}{line}"), &[]).contains(reason), "{line}");
    }
    for name in ["../up", "", "a b"] {
        let named = RECIPE.replace("name = \"joint\"", &format!("name = {name:?}"));
        assert!(message(&named, &[]).contains("phase.name becomes a folder"), "{name}");
    }
    let phase = &RECIPE[RECIPE.find("[[phase]]").unwrap()..];
    assert!(message(&format!("{RECIPE}\n{phase}"), &[]).contains("two phases are called joint"));
    let ground = RECIPE.replace("\"joint\"\nsteps", "\"ground\"\nsteps");
    assert!(message(&ground, &[]).contains("grounding does not train the guard"));
    let seeing = ground.replace("guard = 1e-2", "vision = 1e-2");
    assert!(message(&seeing, &[]).contains("from the block vision_from on"));
    assert!(recipe(&format!("vision_from = 1\n{seeing}"), &[]).is_ok());
    for (lines, reason) in [
        ("max_tokens = 0", "max_tokens must be above 0"),
        ("validation = { every = 0, samples = 1, data = [] }", "validation.every must be above 0"),
        ("validation = { every = 1, samples = 1, data = [] }", "the number of validation.data must be above 0"),
        ("augment = { crop = 0.9 }", "augment.crop must be from 0 to 0.5"),
        ("augment = { hue = 200.0 }", "augment.hue must be from 0 to 180"),
        ("augment = { grey = -0.1 }", "augment.grey must be from 0 to 1"),
        ("data = [{ kind = \"llava\" }]", "data.path names the file of rows"),
        ("data = [{ kind = \"symbolic\", path = \"x\" }]", "data.path names the file of rows"),
        ("data = [{ kind = \"symbolic\", weight = 0.0 }]", "data.weight must be above 0"),
        ("guard = { inptu = \"projector\" }", "unknown field `inptu`"),
    ] {
        assert!(message(&format!("{lines}\n{RECIPE}"), &[]).contains(reason), "{lines}");
    }
    let weighted = RECIPE.replace("[lora]", "[weight]\nUSU = 0.0\n\n[lora]");
    assert!(message(&weighted, &[]).contains("weight.USU must be above 0"));
}

#[test]
fn the_rate_rises_and_falls_along_a_cosine() {
    let recipe = recipe(RECIPE, &["warmup=0.1", "final_rate=0.2"]).unwrap();
    let rates: Vec<f64> = (0..100).map(|step| learning_rate(&recipe, step, 100)).collect();
    // Ten steps up in a straight line, from a tenth to the whole.
    for (step, rate) in rates[..10].iter().enumerate() {
        assert!((rate - (step as f64 + 1.0) / 10.0).abs() < 1e-12, "step {step}: {rate}");
    }
    assert!(rates[9..].windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
    // Half-way down, in step 55 of 10..=100, the cosine is at its middle.
    assert!((rates[54] - 0.6).abs() < 1e-12, "{}", rates[54]);
    assert!((rates[99] - 0.2).abs() < 1e-12, "{}", rates[99]);
}

#[test]
fn short_phases_have_rates_too() {
    let recipe = recipe(RECIPE, &["warmup=0"]).unwrap();
    assert_eq!(learning_rate(&recipe, 0, 1), 1.0);
    assert_eq!(learning_rate(&recipe, 0, 2), 1.0);
    assert!((learning_rate(&recipe, 1, 2) - 0.1).abs() < 1e-12);
    let rising = support::recipe(RECIPE, &["warmup=1"]).unwrap();
    assert_eq!([0, 1, 3].map(|step| learning_rate(&rising, step, 4)), [0.25, 0.5, 1.0]);
}
