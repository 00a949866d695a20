//! `guard --out`: tables of verdicts, and runs that are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{goldens, program, refused};

/// A folder of pictures, some of which are none, and where tables go.
struct Run {
    dir: TempDir,
    model: String,
}

impl Run {
    /// `pictures` of the family's, again and again, after an empty file and before one of text.
    fn new(family: &str, pictures: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("pictures");
        fs::create_dir(&folder).unwrap();
        let mut found: Vec<PathBuf> =
            fs::read_dir(goldens(family).join("pictures")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        for (nth, picture) in found.iter().cycle().take(pictures).enumerate() {
            fs::copy(picture, folder.join(format!("{nth:03}.png"))).unwrap();
        }
        fs::write(folder.join("000-empty.png"), "").unwrap();
        fs::write(folder.join("999, text.png"), "no picture").unwrap();
        Self { dir, model: goldens(family).join("tiny").display().to_string() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let model: &[&str] = &["guard", "pictures", "--device", "flex", "--model", &self.model];
        [model, more].concat()
    }

    /// Runs to the end; two files are no pictures, so that the status is 2.
    fn end(&self, more: &[&str]) -> Vec<u8> {
        let mut command = program(&self.arguments(more));
        command.current_dir(self.dir.path()).assert().code(2).get_output().stdout.clone()
    }

    fn start(&self, out: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_safevlm"));
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).current_dir(self.dir.path());
        let command = command.args(self.arguments(&["--out", out]));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn journal(&self, out: &str) -> PathBuf {
        self.path(&format!("{out}.partial.jsonl"))
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[test]
fn a_table_has_what_guard_prints_and_an_error_for_the_rest() {
    let run = Run::new("safe-llava", 11);
    let summary: Value = serde_json::from_slice(&run.end(&["--out", "a.jsonl", "--json"])).unwrap();
    let count = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!((count("images"), count("failed"), count("from_before")), (13, 2, 0));
    assert!(summary["images_per_second"].as_f64().unwrap() > 0.0);
    assert!(!run.journal("a.jsonl").exists());

    let table = fs::read_to_string(run.path("a.jsonl")).unwrap();
    let printed = String::from_utf8(run.end(&["--json"])).unwrap();
    let (failed, judged): (Vec<&str>, Vec<&str>) = table.lines().partition(|line| line.contains("\"safety\":null"));
    assert_eq!(judged, printed.lines().collect::<Vec<_>>());
    let failed: Vec<Value> = failed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(failed[0]["error"].as_str().unwrap().contains("it is empty"), "{}", failed[0]);
    assert_eq!(failed[1]["path"], "pictures/999, text.png");
    let flagged = judged.iter().filter(|line| line.contains("\"flagged\":true")).count();
    assert_eq!(count("flagged"), flagged as u64);

    run.end(&["--out", "a.csv"]);
    let csv = fs::read_to_string(run.path("a.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 14);
    for (line, row) in lines[1..].iter().zip(table.lines()) {
        let row: Value = serde_json::from_str(row).unwrap();
        let path = row["path"].as_str().unwrap();
        assert!(line.trim_start_matches('"').starts_with(path), "{line}");
        // The failed rows say no word about safety.
        assert_eq!(row["safety"].is_null(), line.contains(&",".repeat(27)), "{line}");
    }
}

#[test]
fn a_run_that_is_killed_gives_the_same_table() {
    let run = Run::new("safe-llava", 120);
    for ending in ["csv", "parquet"] {
        let [whole, out] = ["whole", "killed"].map(|name| format!("{name}.{ending}"));
        run.end(&["--out", &whole]);
        let whole = fs::read(run.path(&whole)).unwrap();
        let journal = run.journal(&out);
        let (mut kills, mut last) = (0, Vec::new());
        'run: loop {
            let (mut child, before) = (run.start(&out), size(&journal));
            // At some moment: before anything is done, or as soon as anything was.
            if kills < 2 {
                sleep(Duration::from_millis(40 * kills));
            } else {
                while size(&journal) <= before {
                    if child.try_wait().unwrap().is_some() {
                        break 'run;
                    }
                    sleep(Duration::from_millis(1));
                }
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            last = fs::read(&journal).unwrap_or(last);
        }
        assert!(kills >= 3, "killed {kills} times only");
        assert_eq!(fs::read(run.path(&out)).unwrap(), whole, "killed {kills} times");
        assert!(!journal.exists());

        // A kill in the middle of a line, and one after the table was put in its place.
        for part in [3, 2] {
            fs::write(&journal, &last[..last.len() - last.len() / part]).unwrap();
            run.end(&["--out", &out]);
            assert_eq!(fs::read(run.path(&out)).unwrap(), whole, "without a {part}th of the journal");
        }
    }
}

#[test]
fn a_run_goes_on_with_its_own_settings_only() {
    let run = Run::new("safe-qwen", 9);
    let mut child = run.start("a.csv");
    while size(&run.journal("a.csv")) == 0 {
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let journal = fs::read(run.journal("a.csv")).unwrap();
    let (pictures, out) = (run.path("pictures").display().to_string(), run.path("a.csv").display().to_string());
    let base = ["guard", &pictures, "--device", "flex", "--model", &run.model, "--out", &out];
    let with = |more: &[&str]| {
        let output = program(&[&base[..], more].concat()).assert().code(2);
        String::from_utf8(output.get_output().stderr.clone()).unwrap()
    };
    for more in [&["--threshold", "0.75"][..], &["--dtype", "bf16"]] {
        let message = with(more);
        assert!(message.contains(&more[0][2..]) && message.contains("--restart"), "{message}");
        assert_eq!(fs::read(run.journal("a.csv")).unwrap(), journal);
    }
    with(&["--restart", "--threshold", "0.75"]);
    assert!(fs::read_to_string(run.path("a.csv")).unwrap().contains(",0.75,"));
    // A table that is whole is not touched, unless that is asked for.
    let message = with(&[]);
    assert!(message.contains("is there already") && message.contains("--restart"), "{message}");
    with(&["--restart"]);
    assert!(fs::read_to_string(run.path("a.csv")).unwrap().contains(",0.5,"));
}

#[test]
fn tables_that_cannot_be_made_are_refused() {
    let run = Run::new("safe-llava", 1);
    let picture = run.path("pictures/000.png").display().to_string();
    let model = ["guard", &picture, "--device", "flex", "--model"];
    let out = |model: &[&str], out: &str| refused(&[model, &["--out", &run.path(out).display().to_string()]].concat());
    let tiny = [&model[..], &[&run.model]].concat();
    assert!(out(&tiny, "a.txt").contains(".parquet, .csv or .jsonl"));
    let base = goldens("safe-llava").join("gqa").display().to_string();
    assert!(out(&[&model[..], &[&base]].concat(), "a.csv").contains("has no guard head"));
    assert!(refused(&[&tiny[..], &["--restart"]].concat()).contains("--out"));
    assert!(refused(&[&tiny[..], &["--out", "a.csv", "--heatmap", "b.png"]].concat()).contains("--heatmap"));
    assert!(!run.path("a.csv").exists());
}
