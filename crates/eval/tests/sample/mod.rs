//! Two runs on a small benchmark whose texts do all they can to break out of a page.

// Each test file uses its own part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use safevlm::CLASSES;
use safevlm_eval::{OfficialString, Report, ReportOptions, RunInfo, Settings, hash_path};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What an attacker would write. If any of it ran, the page's root element would get the attribute `data-hacked`.
pub(crate) const HOSTILE: [&str; 5] = [
    "</script><script>document.documentElement.dataset.hacked = 1</script>",
    "<img src=x onerror=\"document.documentElement.dataset.hacked = 2\">",
    "<!--<script>",
    "\u{2028}\u{2029}'\"`${document.documentElement.dataset.hacked = 3}%%script%%",
    "javascript:document.documentElement.dataset.hacked=4",
];

pub(crate) const ROWS: usize = 200;
const TYPES: [&str; 5] = ["SSS", "SSU", "USU", "UUU", "SUU"];

/// A folder with `bench/bench.json`, `bench/images/` and two runs: `ours.jsonl` with guard and `ours.run.json`,
/// and `theirs_holisafe_bench.json` with neither.
pub(crate) struct Sample {
    folder: TempDir,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let sample = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(sample.path("bench/images")).unwrap();
        fs::write(sample.path("bench/bench.json"), "[]").unwrap();
        let mut picture = image::RgbImage::from_pixel(200, 100, image::Rgb([200, 30, 30]));
        picture.put_pixel(0, 0, image::Rgb([0, 0, 0]));
        picture.save(sample.path("bench/images/a.png")).unwrap();

        let ours: Vec<String> = (0..ROWS).map(|id| row(id, true).to_string()).collect();
        fs::write(sample.path("ours.jsonl"), ours.join("\n") + "\n").unwrap();
        let theirs: Vec<Value> = (0..ROWS).map(|id| row(id, false)).collect();
        fs::write(sample.path("theirs_holisafe_bench.json"), json!(theirs).to_string()).unwrap();
        let settings = Settings {
            model: format!("ours {}", HOSTILE[0]),
            bench: "bench.json".to_owned(),
            bench_sha256: hash_path(&sample.path("bench/bench.json")).unwrap(),
            system: Some(HOSTILE[1].to_owned()),
            threshold: 0.5,
            ..Settings::default()
        };
        let info =
            RunInfo { settings, device: HOSTILE[4].to_owned(), rows: ROWS, finished: true, ..RunInfo::default() };
        info.write(&sample.path("ours.run.json")).unwrap();
        sample
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        vec![self.path("ours.jsonl"), self.path("theirs_holisafe_bench.json")]
    }

    pub(crate) fn report(&self, examples: usize) -> Report {
        let options = ReportOptions { title: format!("Sample {}", HOSTILE[2]), examples, ..ReportOptions::default() };
        Report::of_files(&self.runs(), &mut OfficialString, &options, &mut |_| {}).unwrap()
    }

    /// Writes the page, and gives its path.
    pub(crate) fn page(&self) -> PathBuf {
        let path = self.path("report.html");
        self.report(100).write(&path).unwrap();
        path
    }
}

/// Ours refuses every second unsafe row, theirs every tenth. One row of ours has no picture.
fn row(id: usize, ours: bool) -> Value {
    let combination = TYPES[id % 5];
    let class = &CLASSES[1 + id % 19];
    let image_safe = combination.starts_with('S');
    let refused = combination != "SSS" && (id / 5).is_multiple_of(if ours { 2 } else { 10 });
    let hostile = HOSTILE[id / 5 % HOSTILE.len()];
    let answer =
        if refused { format!("I'm sorry. {hostile}") } else { format!("Gladly: {hostile} {}", "word ".repeat(500)) };
    let mut row = json!({
        "id": id,
        "image": if id == 7 { "missing.png" } else { "a.png" },
        "query": format!("What is this? {hostile}"),
        "type": combination,
        "category": class.category.unwrap().as_str(),
        "subcategory": class.name,
        "image_safe": image_safe,
        "image_safety_label": if image_safe { 0 } else { class.id },
        "prediction": answer,
    });
    if ours {
        row["safety"] = verdict(id, image_safe, class.id);
    }
    row
}

/// Mostly right, surer of some rows than of others; label 19 has a name of its own.
fn verdict(id: usize, image_safe: bool, class: usize) -> Value {
    let unsafe_probability = (id * 37 % 100) as f32 / 100.0 * 0.6 + if image_safe { 0.0 } else { 0.4 };
    let labels = CLASSES.iter().map(|class| if class.id == 19 { HOSTILE[1] } else { class.name });
    let probability = |at: usize| match at {
        0 => 1.0 - unsafe_probability,
        at if at == class => unsafe_probability,
        _ => 0.0,
    };
    let probabilities: serde_json::Map<String, Value> =
        labels.enumerate().map(|(at, label)| (label.to_owned(), json!(probability(at)))).collect();
    let label_id = if unsafe_probability > 0.5 { class } else { 0 };
    let label = if label_id == 19 { HOSTILE[1] } else { CLASSES[label_id].name };
    json!({"label": label, "label_id": label_id, "category": null, "flagged": unsafe_probability >= 0.5,
        "unsafe_probability": unsafe_probability, "threshold": 0.5, "probabilities": probabilities})
}

/// The text between two marks.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before}")) + before.len();
    let end = text[start..].find(after).unwrap_or_else(|| panic!("no {after}")) + start;
    &text[start..end]
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
