//! `safevlm eval predict` and `merge`: a run may be killed at any moment, and rows are never mixed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use safevlm_data::{PictureSets, Split, compose_to_folder};
use serde_json::Value;

/// A folder with a benchmark of stand-in pictures.
struct Place(tempfile::TempDir);

impl Place {
    fn new(scenes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        compose_to_folder(&PictureSets::stand_in(Split::HeldOut), scenes, 0, &folder.path().join("bench"), false)
            .unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The command that writes `out` with the tiny SafeQwen, whose images take different numbers of tokens.
    fn predict(&self, out: &str, more: &[&str]) -> Command {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/safe-qwen/tests/goldens/tiny");
        let mut command = program(&["eval", "predict", "--device", "flex", "--batch", "4", "--max-new-tokens", "12"]);
        command.arg("--model").arg(model).arg("--bench").arg(self.path("bench/holisafe_bench.json"));
        command.arg("--out").arg(self.path(out)).args(more);
        command
    }

    fn answers(&self, out: &str) -> BTreeMap<u64, String> {
        let text = fs::read_to_string(self.path(out)).unwrap();
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let answers: BTreeMap<u64, String> = rows
            .iter()
            .map(|row| (row["id"].as_u64().unwrap(), row["prediction"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(answers.len(), rows.len(), "no row is there twice");
        answers
    }

    fn info(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safevlm"));
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).env_remove("RUST_BACKTRACE").args(arguments);
    command
}

fn succeeds(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What it says when it refuses with the exit status 2.
fn refuses(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_run_killed_at_twenty_moments_gives_the_same_file() {
    let place = Place::new(30);
    succeeds(place.predict("whole.jsonl", &[]));
    let whole = fs::read(place.path("whole.jsonl")).unwrap();
    let (mut kills, mut in_between, mut run) = (0, 0, 0);
    // Numbers that look random, the same in every run of the test.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    while kills < 20 {
        let out = format!("killed-{run}.jsonl");
        let path = place.path(&out);
        run += 1;
        // Several kills a file, each when it has grown past a random length.
        let mut moments: Vec<u64> = (0..4).map(|_| random(whole.len() as u64)).collect();
        moments.sort_unstable();
        for moment in moments {
            let mut child = place.predict(&out, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while child.try_wait().unwrap().is_none() && fs::metadata(&path).map_or(0, |file| file.len()) <= moment {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(random(8)));
            // SIGKILL on Unix.
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            in_between += usize::from(fs::metadata(&path).is_ok_and(|file| file.len() < whole.len() as u64));
        }
        // A kill inside a write, which no schedule is sure to hit: what is left of a row.
        let length = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1 - random(100)).unwrap();
        succeeds(place.predict(&out, &[]));
        assert_eq!(fs::read(&path).unwrap(), whole, "file {run}");
    }
    assert!(in_between >= 5, "only {in_between} kills came before the end");
}

#[test]
fn a_finished_run_is_left_alone_and_other_settings_are_refused() {
    let place = Place::new(4);
    succeeds(place.predict("a.jsonl", &[]));
    let rows = fs::read(place.path("a.jsonl")).unwrap();
    let info = place.info("a.run.json");
    assert_eq!(info["finished"], true);
    assert_eq!(info["rows"].as_u64().unwrap() as usize, place.answers("a.jsonl").len());
    assert_eq!(info["timings"]["starts"], 1);
    let first: Value = serde_json::from_slice(rows.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(first["safety"]["probabilities"].as_object().unwrap().len(), 20);

    let again = succeeds(place.predict("a.jsonl", &["--json"]));
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["timings"]["starts"], 1, "nothing was to do");

    let said = refuses(place.predict("a.jsonl", &["--system", "Be brief."]));
    assert!(said.contains("`system` was null and would be \"Be brief.\""), "{said}");
    let said = refuses(place.predict("a.jsonl", &["--shard", "1/2"]));
    assert!(said.contains("`shard` was the whole and would be 1/2"), "{said}");
    assert_eq!(fs::read(place.path("a.jsonl")).unwrap(), rows);

    fs::write(place.path("foreign.jsonl"), "{}\n").unwrap();
    let said = refuses(place.predict("foreign.jsonl", &[]));
    assert!(said.contains("has no .run.json beside it"), "{said}");
    assert_eq!(fs::read_to_string(place.path("foreign.jsonl")).unwrap(), "{}\n");
}

#[test]
fn parts_are_merged_into_the_whole() {
    let place = Place::new(12);
    succeeds(place.predict("whole.jsonl", &[]));
    let parts = ["part-1.jsonl", "part-2.jsonl", "part-3.jsonl"];
    for (nth, part) in parts.iter().enumerate() {
        succeeds(place.predict(part, &["--shard", &format!("{}/3", nth + 1)]));
        assert!(!place.answers(part).is_empty());
    }
    let merge = |parts: &[&str]| {
        let mut command = program(&["eval", "merge"]);
        command.args(parts.iter().map(|part| place.path(part))).arg("--out").arg(place.path("merged.jsonl"));
        command
    };
    for (bad, reason) in [
        (&parts[..2], "one of 3 parts, but 2 were given"),
        (&[parts[0], parts[2]][..], "part 2/3 is missing"),
        (&[parts[0], parts[1], parts[1]][..], "part 2/3 is there twice"),
        (&["whole.jsonl"][..], "not a part"),
        (&["bench/holisafe_bench.json"][..], "no .run.json"),
    ] {
        let said = refuses(merge(bad));
        assert!(said.contains(reason), "{said}");
        assert!(!place.path("merged.jsonl").exists());
    }
    // In any order.
    succeeds(merge(&[parts[2], parts[0], parts[1]]));
    assert_eq!(place.answers("merged.jsonl"), place.answers("whole.jsonl"));
    let info = place.info("merged.run.json");
    assert_eq!(info["shard"], Value::Null);
    assert_eq!(info["settings_sha256"], place.info("whole.run.json")["settings_sha256"]);

    // A part that lost rows, and one that is not finished.
    let text = fs::read_to_string(place.path(parts[1])).unwrap();
    fs::write(place.path(parts[1]), text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let said = refuses(merge(&parts));
    assert!(said.contains("rows instead of"), "{said}");
}

#[test]
fn bad_rows_end_the_run_before_it_begins_or_are_left_out() {
    let place = Place::new(4);
    let path = place.path("bench/holisafe_bench.json");
    let mut rows: Vec<Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    rows[1]["image_safety_label"] = 99.into();
    fs::write(&path, serde_json::to_string(&rows).unwrap()).unwrap();
    let said = refuses(place.predict("a.jsonl", &[]));
    assert!(said.contains("row 2") && said.contains("image_safety_label"), "{said}");
    assert!(!place.path("a.jsonl").exists());
    let output = succeeds(place.predict("a.jsonl", &["--skip-bad"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("row 2"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 bad ones left out"));
    assert_eq!(place.answers("a.jsonl").len(), rows.len() - 1);

    // A picture that is none is named with its row.
    let name = &rows[0]["image"].as_str().unwrap().to_owned();
    fs::write(place.path("bench/images").join(name), "no picture").unwrap();
    rows.remove(1);
    fs::write(&path, serde_json::to_string(&rows).unwrap()).unwrap();
    let said = refuses(place.predict("b.jsonl", &[]));
    assert!(said.contains(name), "{said}");
    let output = succeeds(place.predict("b.jsonl", &["--skip-bad"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains(name));
    let showing = rows.iter().filter(|row| row["image"] == name.as_str()).count();
    assert_eq!(place.answers("b.jsonl").len(), rows.len() - showing);
    assert_eq!(place.info("b.run.json")["left_out"], showing);

    rows[1] = rows[0].clone();
    fs::write(&path, serde_json::to_string(&rows).unwrap()).unwrap();
    assert!(refuses(place.predict("c.jsonl", &[])).contains("occurs twice"));
}
