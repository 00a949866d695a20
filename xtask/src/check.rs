//! Compile checks for backends that this machine need not have, and the kernels' use of memory.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::run::{cargo, features, program, root};

/// Debian's LLVM, which serves for a compile check; the backend wants a newer one of its own.
const LLVM_CONFIG: &str = "llvm-config-22";
/// The crate whose build script downloads that LLVM, unless its sentinel says that it is there.
const BUNDLER: &str = "tracel-llvm-bundler";

/// What stands in for the bundle's `llvm-config`.
const SHIM: &str = r#"#!/bin/sh
case " $* " in
  *" --system-libs "*) echo "-lrt -ldl -lm -lz -lzstd -lxml2 -lz3" ;;
  *" --libs "*) llvm-config-22 "$@" | sed 's/-lPolly[A-Za-z]*//g' ;;
  *) exec llvm-config-22 "$@" ;;
esac
"#;

/// Checks the workspace, or with `cuda` the program with that backend, or with `memory` how kernels use it.
pub(crate) fn check(cuda: bool, memory: bool) -> Result<(), String> {
    if memory {
        return self::memory();
    }
    if !cuda {
        return cargo(&["check", "--workspace", "--all-targets"], &[]);
    }
    let mut variables: Vec<(&str, OsString)> = Vec::new();
    if Command::new(LLVM_CONFIG).arg("--version").output().is_ok() {
        variables.push(("XDG_DATA_HOME", stand_in()?.into()));
    } else {
        println!("{LLVM_CONFIG} is not installed (Debian: llvm-22-dev), so the build downloads an LLVM");
    }
    cargo(&["check", "--package", "safevlm-cli", "--features", "cuda"], &variables)
}

/// Runs the kernels' tests on small cases in valgrind, which sees what is read or written outside of buffers, and what is
/// read before it is written. Left out: tests with large buffers, and one of NaN in vectors, whose rules valgrind does
/// not follow.
pub(crate) fn memory() -> Result<(), String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: the kernels' use of memory is not checked");
        return Ok(());
    }
    // As the tests are built anyway.
    let mut build = program();
    build.args(["test", "--no-run", "--message-format=json"]).args(features());
    let output = build.output().map_err(|e| format!("cargo cannot be started ({e})"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tests = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let is_kernels = message["target"]["name"] == "safevlm_kernels" && message["profile"]["test"] == true;
        is_kernels.then(|| message["executable"].as_str().map(str::to_owned))?
    });
    let tests = tests.ok_or("the kernels' tests could not be built: `cargo test` says why")?;
    let chosen = ["tile::", "linear::", "attention::", "convolution::", "quant::tests"];
    let left_out = ["threads_and_parts", "layers_of", "searched_formats", "large", "what_is_not_finite_shows"];
    println!("+ valgrind {tests}");
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--fair-sched=yes", "--error-exitcode=9", &tests, "--test-threads", "1"]).args(chosen);
    command.args(left_out.iter().flat_map(|name| ["--skip", name])).env("PROPTEST_CASES", "4");
    let status = command.current_dir(root().join("crates/kernels")).status();
    match status.map_err(|e| format!("valgrind cannot be started ({e})"))?.success() {
        true => Ok(()),
        false => Err("the kernels' tests fail in valgrind".to_owned()),
    }
}

/// Makes a data folder in which the bundler finds its work done, and returns it.
fn stand_in() -> Result<PathBuf, String> {
    let home = root().join("target/llvm");
    let bundle = home.join(format!("tracel/tracel-llvm-{}", bundler_version()?));
    let bin = bundle.join("bin");
    let write = |path: &Path, text: &str| fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    fs::create_dir_all(&bin).map_err(|e| format!("{}: {e}", bin.display()))?;
    write(&bundle.join(".tracel-llvm-installed"), "")?;
    let shim = bin.join("llvm-config");
    write(&shim, SHIM)?;
    make_executable(&shim)?;
    Ok(home)
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> Result<(), String> {
    Ok(())
}

/// The bundler's version in Cargo.lock, which names its folder.
fn bundler_version() -> Result<String, String> {
    let lock = root().join("Cargo.lock");
    let text = fs::read_to_string(&lock).map_err(|e| format!("{}: {e}", lock.display()))?;
    let after = text.split(&format!("name = \"{BUNDLER}\"")).nth(1);
    let version = after.and_then(|rest| rest.split('"').nth(1));
    version.map(str::to_owned).ok_or_else(|| format!("Cargo.lock has no {BUNDLER}: the cuda backend changed"))
}
