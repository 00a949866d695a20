//! Commands that run cargo and the `safevlm` program.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The program's package, as every command builds it.
const PACKAGE: &str = "safevlm-cli";

/// Runs `cargo` with `arguments` in the workspace.
pub(crate) fn cargo(arguments: &[&str], variables: &[(&str, OsString)]) -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    println!("+ cargo {}", arguments.join(" "));
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root()).envs(variables.iter().map(|(k, v)| (k, v)));
    let status = command.status().map_err(|e| format!("cargo cannot be started ({e})"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("`cargo {}` failed", arguments.join(" "))),
    }
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

/// Everything that CI runs, in one feature set so that nothing is built twice.
pub(crate) fn test() -> Result<(), String> {
    let features = ["--workspace", "--features", "safevlm-cli/wgpu,safevlm-tests/wgpu"];
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&[&["clippy", "--all-targets"][..], &features, &["--", "-D", "warnings"]].concat(), &[])?;
    cargo(&[&["test"][..], &features].concat(), &[])?;
    memory()?;
    cargo(&[&["doc", "--no-deps"][..], &features].concat(), &[("RUSTDOCFLAGS", "-D warnings".into())])
}

/// The kernels' tests on small cases in valgrind, which sees what is read or written outside of buffers or before it is
/// set. Left out: tests with large buffers, and one of NaN in vectors, whose rules valgrind does not follow.
fn memory() -> Result<(), String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: the kernels' use of memory is not checked");
        return Ok(());
    }
    let runner = r#"target.'cfg(all())'.runner = ["valgrind", "--quiet", "--fair-sched=yes", "--error-exitcode=9"]"#;
    let tests = ["tile::", "linear::", "attention::", "convolution::", "quant::tests"];
    let left_out = ["threads_and_parts", "layers_of", "searched_formats", "large", "what_is_not_finite_shows"];
    let mut arguments = vec!["test", "--package", "safevlm-kernels", "--lib", "--config", runner, "--"];
    arguments.extend(["--test-threads", "1"]);
    arguments.extend(tests);
    arguments.extend(left_out.iter().flat_map(|name| ["--skip", name]));
    cargo(&arguments, &[("PROPTEST_CASES", "4".into())])
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or(own.clone(), PathBuf::from)
}
