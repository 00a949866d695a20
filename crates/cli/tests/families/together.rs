//! Several processes that train together, by the MPI of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use safevlm_weights::{ADAPTER_FILE, SafetensorsDir, TensorSource};

use crate::goldens;
use crate::trained::{LORA, recipe, write_data};

/// `mpirun` with two processes of the program.
fn two(arguments: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "-n", "2", env!("CARGO_BIN_EXE_safevlm")]).args(arguments);
    // A test may run as root, and where there is no other machine.
    command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    // No other machine is asked, so that there need be no ssh.
    command.env("OMPI_MCA_plm_rsh_agent", "");
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A recipe in a folder of its own, without dropout, which differs between processes.
fn recipe_in(root: &Path, name: &str, steps: usize) -> PathBuf {
    let dir = root.join(name);
    fs::create_dir_all(&dir).unwrap();
    write_data(&dir, "safe-llava");
    let more = format!("guard = {{ dropout = 0.0 }}\n{LORA}");
    let sets = "projector = 1e-3\nguard = 1e-3\nlora = 1e-3";
    let path = recipe(&dir, "safe-llava", &goldens("safe-llava").join("tiny"), sets, &more);
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("epochs = 2.0", &format!("steps = {steps}")).replace("every = 2", "every = 10");
    fs::write(&path, text).unwrap();
    path
}

/// The largest difference between the trained weights of two runs, and their largest value.
fn difference(ours: &Path, theirs: &Path) -> (f32, f32) {
    let open = |recipe: &Path| SafetensorsDir::open(&recipe.with_file_name("run/adapter").join(ADAPTER_FILE)).unwrap();
    let (ours, theirs) = (open(ours), open(theirs));
    assert_eq!(ours.names(), theirs.names());
    let (mut most, mut largest) = (0f32, 0f32);
    for name in ours.names() {
        for (a, b) in ours.read_f32(&name).unwrap().into_iter().zip(theirs.read_f32(&name).unwrap()) {
            most = most.max((a - b).abs());
            largest = largest.max(b.abs());
        }
    }
    (most, largest)
}

#[test]
fn two_processes_end_with_the_weights_of_one() {
    let root = tempfile::tempdir().unwrap();
    let [alone, together] = ["alone", "together"].map(|name| recipe_in(root.path(), name, 12));
    crate::program(&["train", "--device", "flex", alone.to_str().unwrap()]).assert().success();
    let output = two(&["train", "--device", "flex", together.to_str().unwrap()]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    // One of them speaks, and writes a line a step.
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1, "{stderr}");
    let lines = |recipe: &Path| fs::read_to_string(recipe.with_file_name("run/log.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap();
    assert_eq!(lines(&together).lines().count(), 12);
    for (ours, theirs) in lines(&together).lines().zip(lines(&alone).lines()) {
        assert!((loss(ours) - loss(theirs)).abs() < 1e-3 * loss(theirs), "{ours}\n{theirs}");
    }
    let (most, largest) = difference(&together, &alone);
    assert!(most < 1e-3 * largest, "weights differ by {most} of {largest}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_is_killed_ends_all_and_the_run_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let [alone, killed] = ["alone", "killed"].map(|name| recipe_in(root.path(), name, 300));
    crate::program(&["train", "--device", "flex", alone.to_str().unwrap()]).assert().success();
    let arguments = ["train", "--device", "flex", killed.to_str().unwrap()];
    let mut run = two(&arguments).spawn().unwrap();
    let output = killed.with_file_name("run");
    wait(&mut run, || fs::read_dir(&output).is_ok_and(|mut all| all.any(|e| is_checkpoint(&e.unwrap().path()))));
    let victim = children(run.id()).pop().expect("mpirun has started processes");
    assert!(Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap().success());
    let ended = run.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && stderr.contains("signal 9"), "{stderr}");
    assert!(!output.join("adapter").exists());
    let again = two(&arguments).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let (most, largest) = difference(&killed, &alone);
    assert!(most < 2e-2 * largest, "weights differ by {most} of {largest}");
}

#[test]
fn what_ends_one_process_is_said_once_and_ends_the_other() {
    let root = tempfile::tempdir().unwrap();
    let path = recipe_in(root.path(), "missing", 12);
    // Three rows of six samples show it, so that one of the two comes to it first.
    let rows = path.with_file_name("rows.json");
    let text = fs::read_to_string(&rows).unwrap();
    let rows_json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let image = rows_json[0]["image"].as_str().unwrap();
    fs::write(&rows, text.replace(image, "gone.png")).unwrap();
    let output = two(&["train", "--device", "flex", path.to_str().unwrap()]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("of 2: "), "{stderr}");
    assert!(stderr.contains("gone.png"), "{stderr}");
    assert!(!path.with_file_name("run/adapter").exists());
}

fn is_checkpoint(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-"))
}

/// Waits until `there`, for a minute at most, while `run` runs.
fn wait(run: &mut Child, there: impl Fn() -> bool) {
    let begin = Instant::now();
    while !there() {
        assert!(run.try_wait().unwrap().is_none(), "it has ended before");
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing happens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that `parent` has started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let of = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|process| of(*process) == Some(parent)).collect()
}
