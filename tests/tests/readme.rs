//! The README's word: every command of its shell blocks exists with the options it is given, the cheap
//! ones run as written, and what it quotes and names is there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use safevlm_tests::{model_dir, workspace};

/// Sub-commands that take seconds and change nothing but the folder they are told to make.
const CHEAP: [&[&str]; 9] = [
    &["models"],
    &["chat"],
    &["guard"],
    &["data", "compose"],
    &["data", "check"],
    &["eval", "predict"],
    &["eval", "score"],
    &["eval", "report"],
    &["completions"],
];
/// Numbers that are made smaller: less shows as well that the command works, and the rest takes long in this profile.
const FEWER: [(&str, &str); 3] =
    [("chat", "--max-new-tokens 8"), ("predict", "--max-new-tokens 2"), ("compose", "--scenes 6")];
/// Folders of the repository; a word of the README that begins with one of them is a path in it.
const FOLDERS: [&str; 8] = ["crates/", "docs/", "examples/", "models/", "recipes/", "tests/", "xtask/", ".ci/"];

#[test]
fn every_command_exists_with_its_options() {
    let mut checked = 0;
    for line in command_lines() {
        let words = words(&line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["safevlm", arguments @ ..] => has_options(program("safevlm", "safevlm-cli"), arguments, &line),
            ["cargo", "xtask", arguments @ ..] => has_options(program("xtask", "xtask"), arguments, &line),
            ["cargo", "install", arguments @ ..] => {
                let path = after(arguments, "--path").unwrap_or_else(|| panic!("no --path: {line}"));
                has_features(&workspace().join(path), arguments, &line);
            }
            ["cargo", "run", arguments @ ..] => {
                let bin = after(arguments, "--bin").unwrap_or_else(|| panic!("no --bin: {line}"));
                let source = workspace().join("examples/src/bin").join(bin).with_extension("rs");
                assert!(source.is_file(), "no such program: {line}");
                assert_eq!(after(arguments, "-p"), Some("safevlm-examples"), "{line}");
                has_features(&workspace().join("examples"), arguments, &line);
            }
            _ => panic!("the README has a command that this test does not know: {line}"),
        }
        checked += 1;
    }
    assert!(checked > 10, "only {checked} commands were found");
}

#[test]
fn cheap_commands_run_as_written() {
    model_dir("safe-smol");
    let scratch = tempfile::tempdir().unwrap();
    let (mut seen, mut made) = (Vec::new(), Vec::new());
    for line in command_lines() {
        let words = words(&line);
        let Some(arguments) = words.strip_prefix(&["safevlm".to_owned()]) else { continue };
        let starts =
            |command: &&&[&str]| command.len() <= arguments.len() && command.iter().zip(arguments).all(|(a, b)| a == b);
        let Some(command) = CHEAP.iter().find(starts) else { continue };
        // A GPU's feature and the GPU need not be there.
        if after(arguments, "--device").is_some_and(|device| !["auto", "cpu", "flex"].contains(&device)) {
            continue;
        }
        let mut arguments = arguments.to_vec();
        for at in 1..arguments.len() {
            // What one command makes, later ones are given.
            let begin = arguments[at].split('/').next().unwrap_or_default().to_owned();
            if ["--out", "--heatmap"].contains(&arguments[at - 1].as_str()) {
                made.push(begin);
            } else if !made.contains(&begin) {
                continue;
            }
            arguments[at] = scratch.path().join(&arguments[at]).display().to_string();
        }
        for (name, less) in FEWER {
            if command.contains(&name) {
                let (option, number) = less.split_once(' ').unwrap();
                match arguments.iter().position(|argument| argument == option) {
                    Some(at) => arguments[at + 1] = number.to_owned(),
                    None => arguments.extend([option, number].map(str::to_owned)),
                }
            }
        }
        let output = run(program("safevlm", "safevlm-cli"), &arguments);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{line}: it says nothing");
        seen.push(*command);
    }
    for command in CHEAP {
        assert!(seen.contains(&command), "the README does not show `safevlm {}`", command.join(" "));
    }
}

#[test]
fn the_library_example_is_the_one_that_is_compiled() {
    let facade = std::fs::read_to_string(workspace().join("crates/safevlm/src/lib.rs")).unwrap();
    let documented: Vec<&str> =
        facade.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim_start).collect();
    let documented = documented.join("\n");
    let readme = readme();
    let examples = blocks(&readme, "rust");
    assert!(!examples.is_empty());
    for example in examples {
        assert!(documented.contains(example.trim()), "not in crates/safevlm/src/lib.rs:\n{example}");
    }
}

#[test]
fn paths_and_models_are_there() {
    let readme = readme();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let paths = readme.split(|c| !is_part(c)).map(|word| word.trim_end_matches('.'));
    for path in paths.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
        assert!(workspace().join(path).exists(), "the README names {path}");
    }
    for entry in safevlm::registry::models() {
        assert!(readme.contains(&format!("| `{}` |", entry.name)), "the README's table lacks {}", entry.name);
    }
}

fn readme() -> String {
    std::fs::read_to_string(workspace().join("README.md")).unwrap()
}

/// The fenced blocks of one language.
fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    markdown.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

/// The lines of all shell blocks.
fn command_lines() -> Vec<String> {
    let readme = readme();
    blocks(&readme, "sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect()
}

/// A line's words as a shell takes them apart: double quotes, up to a comment or a redirection.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (nth, part) in line.split('"').enumerate() {
        if nth % 2 == 1 {
            words.push(part.to_owned());
            continue;
        }
        for word in part.split_whitespace() {
            if word == "#" || word == ">" {
                return words;
            }
            words.push(word.to_owned());
        }
    }
    words
}

/// The word behind `option`.
fn after<'a>(arguments: &'a [impl AsRef<str>], option: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument.as_ref() == option)?;
    arguments.get(at + 1).map(AsRef::as_ref)
}

/// Asserts that the help of the sub-command in `arguments` names each of their options.
#[track_caller]
fn has_options(program: &Path, arguments: &[&str], line: &str) {
    let command: &[&str] = match arguments {
        ["data" | "eval", ..] => &arguments[..2],
        _ => &arguments[..1],
    };
    let output = run(program, &[command, &["--help"]].concat());
    assert!(output.status.success(), "no such command: {line}");
    let help = String::from_utf8(output.stdout).unwrap();
    let named: Vec<&str> = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    for option in arguments.iter().filter(|argument| argument.starts_with('-')) {
        assert!(named.contains(option), "no option {option}: {line}");
    }
}

/// Asserts that the package in `folder` has the features that `--features` asks for.
#[track_caller]
fn has_features(folder: &Path, arguments: &[&str], line: &str) {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_else(|_| panic!("no package: {line}"));
    for feature in after(arguments, "--features").into_iter().flat_map(|list| list.split(',')) {
        assert!(manifest.lines().any(|l| l.starts_with(&format!("{feature} = ["))), "no feature {feature}: {line}");
    }
}

fn run(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Output {
    Command::new(program).args(arguments).current_dir(workspace()).output().unwrap()
}

/// A program of the workspace, from the folder and profile this test was built in; `cargo test
/// --workspace` has built it, and otherwise it is built now.
fn program(name: &str, package: &str) -> &'static Path {
    static PROGRAMS: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    PROGRAMS[usize::from(name == "xtask")].get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).unwrap();
        let path = profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !path.is_file() {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo
                .args(["build", "-p", package, "--target-dir"])
                .arg(profile.parent().unwrap())
                .current_dir(workspace());
            if profile.ends_with("release") {
                cargo.arg("--release");
            }
            assert!(cargo.status().unwrap().success(), "{package} cannot be built");
        }
        path
    })
}
