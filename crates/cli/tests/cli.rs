//! The command line without any model: what it refuses, how, and with which exit status.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

/// The program with an empty cache, so that nothing of this machine's user shows through.
struct Program {
    home: TempDir,
}

impl Program {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.home.path().join(name), content).unwrap();
        self.path(name)
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, "")
    }

    fn run_with_input(&self, args: &[&str], input: &str) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_safevlm"))
            .env("SAFEVLM_HOME", self.home.path().join("cache"))
            .env_remove("CLICOLOR_FORCE")
            // Without it Mesa's drivers complain on standard error when wgpu looks for devices.
            .env("XDG_RUNTIME_DIR", self.home.path())
            .current_dir(self.home.path())
            .args(args)
            .write_stdin(input)
            .output()
            .unwrap();
        Outcome {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    /// One line `error: ...` with all of `words`, nothing on standard output, exit status 2.
    #[track_caller]
    fn refused(&self, words: &[&str]) {
        assert_eq!(self.status, 2, "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        self.says(words);
    }

    #[track_caller]
    fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in: {}", self.stderr);
        }
    }
}

const COMMANDS: [&[&str]; 16] = [
    &["models"],
    &["chat"],
    &["guard"],
    &["import"],
    &["inspect"],
    &["train"],
    &["eval"],
    &["data", "check"],
    &["eval", "predict"],
    &["eval", "merge"],
    &["eval", "report"],
    &["eval", "score"],
    &["bench"],
    &["data"],
    &["data", "compose"],
    &["completions"],
];

#[test]
fn every_command_has_help_with_an_example() {
    let program = Program::new();
    for command in COMMANDS {
        let help = program.run(&[command, &["--help"]].concat());
        assert_eq!(help.status, 0, "{}", help.stderr);
        assert!(help.stdout.contains("Usage: safevlm"), "{}", help.stdout);
        let example = format!("  safevlm {}", command.join(" "));
        assert!(help.stdout.contains("Example") && help.stdout.contains(&example), "{}", help.stdout);
    }
    let help = program.run(&["--help"]);
    for command in COMMANDS {
        assert!(help.stdout.contains(&format!("\n  {}", command[0])), "{}", help.stdout);
    }
}

#[test]
fn the_options_of_the_contract_are_there() {
    let help = Program::new().run(&["chat", "--help"]).stdout;
    // The help is wrapped at the width of the terminal.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for option in [
        "--model <",
        "--image <",
        "--prompt <",
        "--system <",
        "--max-new-tokens <",
        "--temperature <",
        "--top-k <",
        "--top-p <",
        "--repetition-penalty <",
        "--seed <",
        "--stop <",
        "--json",
        "--device <",
        "--threshold <",
    ] {
        assert!(help.contains(option), "no {option} in:\n{help}");
    }
    assert!(help.contains("[default: safe-smol]") && help.contains("[default: auto]"), "{help}");
}

#[test]
fn without_a_command_the_help_is_shown_as_an_error() {
    let outcome = Program::new().run(&[]);
    assert_eq!(outcome.status, 2);
    assert!(outcome.stderr.contains("Usage: safevlm [OPTIONS] <COMMAND>"), "{}", outcome.stderr);
}

#[test]
fn usage_errors_are_one_sentence_with_a_remedy() {
    let program = Program::new();
    program.run(&["chatt"]).refused(&["'chatt'", "'chat'", "see `safevlm --help`"]);
    program.run(&["chat", "--promt", "x"]).refused(&["'--promt'", "'--prompt'", "see `safevlm chat --help`"]);
    program.run(&["guard"]).refused(&["<PATH>", "see `safevlm guard --help`"]);
    program.run(&["completions", "cmd"]).refused(&["'cmd'", "bash"]);
    program.run(&["data", "compose"]).refused(&["--out", "see `safevlm data --help`"]);
    program.run(&["data", "compose", "--out", "x", "--split", "test"]).refused(&["'test'", "held-out"]);
    program.run(&["data", "compose", "--out", "x", "--scenes", "0"]).refused(&["'0'", "--scenes"]);
}

#[test]
fn numbers_out_of_range_name_their_option() {
    let program = Program::new();
    for (option, value) in [
        ("--threshold", "1.5"),
        ("--threshold", "NaN"),
        ("--temperature", "-1"),
        ("--temperature", "inf"),
        ("--top-p", "0"),
        ("--top-k", "0"),
        ("--repetition-penalty", "0"),
        ("--max-new-tokens", "0"),
        ("--seed", "-1"),
    ] {
        let given = format!("{option}={value}");
        program.run(&["chat", "--prompt", "x", &given]).refused(&[option, value]);
    }
}

#[test]
fn devices_that_cannot_be_used_are_refused_first() {
    let program = Program::new();
    for command in [&["chat", "--prompt", "x"][..], &["guard", "missing.png"]] {
        let with = |device: &'static str| program.run(&[command, &["--device", device]].concat());
        with("tpu").refused(&["`tpu`", "--device", "flex", "cuda[:N]"]);
        with("flex:1").refused(&["`flex:1`", "index"]);
        with("cuda:x").refused(&["`cuda:x`", "index"]);
        with("wgpu:4096").refused(&["`wgpu:4096`", "use one of"]);
        if !cfg!(feature = "cuda") {
            with("cuda").refused(&["`cuda`", "not compiled into", "`--features cuda`", "flex"]);
        }
    }
}

#[test]
fn an_unknown_model_is_answered_with_near_names() {
    let program = Program::new();
    let outcome = program.run(&["chat", "--prompt", "x", "--model", "safe-smoll"]);
    outcome.refused(&["`safe-smoll`", "safe-smol`", "safevlm models"]);
}

#[test]
fn a_model_that_is_not_installed_says_how_to_import_it() {
    let outcome = Program::new().run(&["chat", "--prompt", "x"]);
    outcome.refused(&["`safe-smol`", "not installed", "safevlm import safe-smol"]);
}

#[test]
fn a_folder_that_is_no_model_is_named() {
    let program = Program::new();
    fs::create_dir(program.home.path().join("folder")).unwrap();
    program.run(&["chat", "--prompt", "x", "--model", "./folder"]).refused(&["folder", "config.json"]);
}

#[test]
fn bad_images_are_refused_before_any_model_is_needed() {
    let program = Program::new();
    let empty = program.write("empty.png", b"");
    let text = program.write("text.png", b"no image");
    let missing = program.path("missing.png");
    for (path, reason) in [(&empty, "is empty"), (&text, "is not a PNG"), (&missing, "does not exist")] {
        program.run(&["chat", "--prompt", "x", "--image", path]).refused(&[path, reason]);
        program.run(&["guard", path]).refused(&[path, reason]);
    }
}

#[test]
fn guard_reports_every_file_that_fails() {
    let program = Program::new();
    fs::create_dir(program.home.path().join("none")).unwrap();
    let paths = ["a.png", "b.png", "c*.png", "none"];
    program.write("a.png", b"");
    let outcome = program.run(&[&["guard", "--json"][..], &paths].concat());
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""));
    assert_eq!(outcome.stderr.lines().count(), 4, "{}", outcome.stderr);
    outcome.says(&[
        "`a.png`: it is empty",
        "`b.png` does not exist",
        "no image matches `c*.png`",
        "folder `none` has no image",
    ]);
}

#[test]
#[cfg(unix)]
fn a_file_name_cannot_steer_the_terminal() {
    let program = Program::new();
    program.write("red\x1b[31m.png", b"");
    let outcome = program.run(&["guard", "red\x1b[31m.png"]);
    outcome.refused(&["red\u{FFFD}[31m.png"]);
}

#[test]
fn a_prompt_is_needed_and_may_come_from_standard_input() {
    let program = Program::new();
    program.run(&["chat"]).refused(&["no prompt", "--prompt"]);
    program.run_with_input(&["chat"], "\n").refused(&["no prompt"]);
    program.run_with_input(&["chat"], "hello\n").refused(&["not installed"]);
    program.run_with_input(&["chat"], &"x".repeat((1 << 20) + 1)).refused(&["longer than", "shorten"]);
}

#[test]
fn models_are_listed_as_json_and_as_a_table() {
    let program = Program::new();
    let outcome = program.run(&["models", "--json"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let models: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let models = models.as_array().unwrap();
    assert!(models.iter().any(|model| model["name"] == "safe-smol"));
    for model in models {
        let keys: Vec<&String> = model.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "family", "parameters", "licence", "source", "description", "installed", "path"]);
        assert_eq!(model["installed"], false);
        assert!(model["parameters"].as_u64().unwrap() > 0);
    }

    let table = program.run(&["models"]).stdout;
    assert!(table.starts_with("NAME "), "{table}");
    assert!(!table.contains('\x1b'), "colours go to terminals only");
    for model in models {
        assert!(table.contains(&format!("\n{}", model["name"].as_str().unwrap())), "{table}");
    }
}

#[test]
fn completions_name_the_commands_in_every_shell() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let outcome = program.run(&["completions", shell]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        for word in ["guard", "completions", "max-new-tokens"] {
            assert!(outcome.stdout.contains(word), "{shell} has no {word}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let program = Program::new();
    for args in [&["completions", "bash"][..], &["models", "--json"], &["chat", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_safevlm"))
            .args(args)
            .env("SAFEVLM_HOME", program.home.path())
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn training_needs_a_recipe() {
    let program = Program::new();
    program.run(&["train", "missing.toml"]).refused(&["missing.toml"]);
    let recipe = program.write("bad.toml", b"name = ");
    program.run(&["train", &recipe]).refused(&["bad.toml"]);
}

#[test]
fn a_report_needs_runs_and_an_ending_that_says_its_form() {
    let program = Program::new();
    program.run(&["eval", "report", "--out", "a.html"]).refused(&["<RUN>"]);
    program.run(&["eval", "report", "a.jsonl", "--out", "a.pdf"]).refused(&["a.pdf", ".html, .md or .csv"]);
    program.run(&["eval", "report", "a.jsonl", "--out", "a.html"]).refused(&["a.jsonl"]);
    let empty = program.write("empty.jsonl", b"");
    program.run(&["eval", "report", &empty, "--out", "a.html"]).refused(&["empty.jsonl has no rows"]);

    let row = r#"{"id": 1, "image": "hate/race/a.png", "query": "What is this?", "type": "SSS", "category": "hate",
        "subcategory": "race", "image_safe": true, "image_safety_label": 0, "prediction": "A flag."}"#;
    let run = program.write("run.jsonl", row.replace('\n', " ").as_bytes());
    let outcome = program.run(&["eval", "report", &run, "--out", "a.html", "--out", "b.csv"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines[0].starts_with("a.html: 1 run, 1 rows, 1 examples with 0 pictures, "), "{}", outcome.stdout);
    assert!(lines[1].starts_with("b.csv: 1 run, 1 rows, "), "{}", outcome.stdout);
    assert!(fs::read_to_string(program.path("a.html")).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn a_source_that_is_not_there_is_refused_and_leaves_nothing() {
    let program = Program::new();
    program.run(&["import", "./missing.gguf"]).refused(&["missing.gguf"]);
    program.run(&["import", "pip:"]).refused(&["pip:"]);
    assert!(!leaves_files(&program.home.path().join("cache")));
}

fn leaves_files(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).any(|entry| entry.path().is_file() || leaves_files(&entry.path()))
}
