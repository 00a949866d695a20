//! Processes that die, or run out of room, in the middle: a child process imports, is stopped, and
//! nothing half-made may be visible; the next attempt succeeds.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use safevlm_weights::{Cache, Fetcher, SafetensorsDir, import_source};

use crate::server::{Answer, Server, resolve};
use crate::{files_below, golden};

const CACHE: &str = "SAFEVLM_TEST_CACHE";
const SOURCE: &str = "SAFEVLM_TEST_SOURCE";

/// Not a test by itself: what the child processes of the tests below do.
#[test]
fn import_as_a_child() {
    let (Ok(cache), Ok(source)) = (env::var(CACHE), env::var(SOURCE)) else {
        return;
    };
    let fetcher = Fetcher::new(Cache::open(Some(Path::new(&cache))).unwrap());
    match import_source(&source.parse().unwrap(), Some("model"), &fetcher) {
        Ok(_) => println!("imported"),
        Err(error) => println!("error: {error}"),
    }
}

/// This test binary, about to run [`import_as_a_child`].
fn child(cache: &Path, source: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["killed::import_as_a_child", "--exact", "--nocapture"]);
    command.env(CACHE, cache).env(SOURCE, source).stdout(Stdio::null());
    command
}

/// Waits until `ready`, for a minute at most; `false` when `over` comes first.
fn wait(mut ready: impl FnMut() -> bool, mut over: impl FnMut() -> bool) -> bool {
    for _ in 0..60_000 {
        if ready() {
            return true;
        }
        if over() {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("the child process does nothing");
}

/// A source that takes a while: a checkpoint and many small files, each flushed to the disk.
fn slow_source(dir: &Path) {
    fs::copy(golden("tiny_llama.safetensors"), dir.join("model.safetensors")).unwrap();
    for number in 0..500 {
        fs::write(dir.join(format!("config{number}.json")), "{}").unwrap();
    }
}

#[test]
fn killed_while_the_folder_is_made() {
    let source = tempfile::tempdir().unwrap();
    slow_source(source.path());
    let text = source.path().to_string_lossy().into_owned();
    // A child that finishes before the signal arrives proves nothing: another one is started.
    for _ in 0..20 {
        let cache = tempfile::tempdir().unwrap();
        let models = cache.path().join("models");
        let mut process = child(cache.path(), &text).spawn().unwrap();
        let half_made = models.join(".model.partial/model.safetensors");
        if !wait(|| half_made.exists(), || process.try_wait().unwrap().is_some()) {
            continue;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        if models.join("model").exists() {
            continue;
        }
        assert!(half_made.exists(), "the child was not in the middle");
        assert!(files_below(&models).iter().all(|name| name.starts_with(".model.partial/")));

        let fetcher = Fetcher::new(Cache::open(Some(cache.path())).unwrap());
        let folder = import_source(&text.parse().unwrap(), Some("model"), &fetcher).unwrap();
        SafetensorsDir::open(&folder).unwrap();
        assert_eq!(files_below(&models).len(), 502);
        assert!(!models.join(".model.partial").exists());
        return;
    }
    panic!("no child could be stopped in the middle");
}

#[test]
fn killed_while_downloading() {
    let server = Server::start();
    let content = fs::read(golden("tiny_llama.safetensors")).unwrap();
    server.publish(&[("config.json", b"{}"), ("model.safetensors", &content)]);
    server.set(resolve("model.safetensors"), Answer::StallAfter(60_000, content.clone()));
    let cache = tempfile::tempdir().unwrap();
    let mut command = child(cache.path(), "hf:org/model");
    command.env("HF_ENDPOINT", server.address()).env_remove("HF_TOKEN");
    let mut process = command.spawn().unwrap();
    let downloads = cache.path().join("downloads/hf/org+model/main");
    let partial = downloads.join(".partial/model.safetensors.c0ffee");
    let length = || fs::metadata(&partial).map_or(0, |meta| meta.len());
    assert!(wait(|| length() == 60_000, || process.try_wait().unwrap().is_some()));
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!downloads.join("files/model.safetensors").exists());
    assert!(!cache.path().join("models/model").exists());

    server.set(resolve("model.safetensors"), Answer::Body(content.clone()));
    let fetcher = Fetcher::new(Cache::open(Some(cache.path())).unwrap());
    let fetcher = fetcher.with_env("HF_ENDPOINT", server.address()).with_env("HF_TOKEN", "");
    let folder = import_source(&"hf:org/model".parse().unwrap(), Some("model"), &fetcher).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), content);
    assert_eq!(server.requests().last().unwrap().range.as_deref(), Some("bytes=60000-"));
}

/// The file size limit makes a write fail in the middle of a file, as a full disk does, on every
/// Unix and without privileges.
#[test]
#[cfg(unix)]
fn a_write_that_fails_in_the_middle_leaves_nothing() {
    for source in ["tiny_llama.gguf", "tiny_llama.safetensors"] {
        let cache = tempfile::tempdir().unwrap();
        let import = child(cache.path(), &golden(source).to_string_lossy());
        let mut shell = Command::new("sh");
        // In units of 512 or 1024 bytes, by shell; ignoring the signal makes the write fail instead.
        shell.args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\""]);
        shell.arg(import.get_program()).args(import.get_args());
        shell.envs(import.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("error: cannot write"), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(files_below(cache.path()).is_empty(), "{:?}", files_below(cache.path()));
    }
}
