//! Compile checks for backends that this machine need not have.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{cargo, root};

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

/// Checks the workspace, or with `cuda` the program with that backend.
pub(crate) fn check(cuda: bool) -> Result<(), String> {
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
