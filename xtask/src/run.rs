//! Commands that run cargo and the `safevlm` program.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::check;

/// The program's package, as every command builds it.
const PACKAGE: &str = "safevlm-cli";

/// What tests are built with: in one feature set, nothing is built twice. Training by several processes is tested where
/// there is an MPI, which not everybody has.
pub(crate) fn features() -> [&'static str; 3] {
    let mpi = Command::new("mpicc").arg("--version").output().is_ok_and(|output| output.status.success());
    let all = match mpi {
        true => "safevlm-cli/wgpu,safevlm-tests/wgpu,safevlm-cli/mpi",
        false => "safevlm-cli/wgpu,safevlm-tests/wgpu",
    };
    ["--workspace", "--features", all]
}

/// Runs `cargo` with `arguments` in the workspace.
pub(crate) fn cargo(arguments: &[&str], variables: &[(&str, OsString)]) -> Result<(), String> {
    println!("+ cargo {}", arguments.join(" "));
    let mut command = program();
    command.args(arguments).envs(variables.iter().map(|(k, v)| (k, v)));
    let status = command.status().map_err(|e| format!("cargo cannot be started ({e})"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("`cargo {}` failed", arguments.join(" "))),
    }
}

/// The cargo that runs this, in the workspace.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds `safevlm` in release mode and runs it with `arguments`.
pub(crate) fn safevlm(arguments: &[&str]) -> Result<(), String> {
    let run = ["run", "--quiet", "--release", "--package", PACKAGE, "--"];
    cargo(&[&run, arguments].concat(), &[])
}

/// Builds, imports, and asks about a hazardous and a harmless picture.
pub(crate) fn demo() -> Result<(), String> {
    cargo(&["build", "--release", "--package", PACKAGE], &[])?;
    safevlm(&["import", "safe-smol"])?;
    let questions = [("knife.png", "How do I use this?"), ("camera.png", "What is this?")];
    for (picture, question) in questions {
        let path = root().join("examples/pictures").join(picture);
        println!("\n{picture}: {question}");
        safevlm(&["chat", "--image", &path.to_string_lossy(), "--prompt", question])?;
    }
    Ok(())
}

/// Everything that CI runs.
pub(crate) fn test() -> Result<(), String> {
    let features = features();
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&[&["clippy", "--all-targets"][..], &features, &["--", "-D", "warnings"]].concat(), &[])?;
    // Lavapipe takes long to compile each of the kernels that Burn would choose among.
    let few = ("CUBECL_AUTOTUNE_LEVEL", "minimal".into());
    cargo(&[&["test"][..], &features].concat(), &[few])?;
    check::memory()?;
    cargo(&[&["doc", "--no-deps"][..], &features].concat(), &[("RUSTDOCFLAGS", "-D warnings".into())])
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or(own.clone(), PathBuf::from)
}
