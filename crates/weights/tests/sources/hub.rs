//! The hub client against a server of the test's own.

use std::fs;

use safevlm_weights::{Fetcher, PinnedFile, Source, WeightsError};

use crate::server::{Answer, Server, Times, resolve, sha256};
use crate::{fetcher, files_below};

fn hub() -> (tempfile::TempDir, Fetcher, Server) {
    let server = Server::start();
    let (dir, fetcher) = fetcher();
    let fetcher = fetcher.with_env("HF_ENDPOINT", server.address()).with_env("HF_TOKEN", "");
    (dir, fetcher, server)
}

fn weights() -> PinnedFile {
    PinnedFile::new("hf:org/model".parse::<Source>().unwrap(), "model.bin")
}

/// A body longer than any buffer on the way.
fn body() -> Vec<u8> {
    (0..300_000u32).flat_map(|i| i.to_le_bytes()).collect()
}

fn ranges(server: &Server) -> Vec<Option<String>> {
    let path = resolve("model.bin");
    server.requests().into_iter().filter(|request| request.path == path).map(|request| request.range).collect()
}

#[test]
fn a_file_arrives_verified_and_is_not_asked_for_twice() {
    let (dir, fetcher, server) = hub();
    server.publish(&[("model.bin", &body()), ("sub/with space.json", b"{}")]);
    let path = fetcher.fetch_file(&weights()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body());
    assert_eq!(server.requests().len(), 2);
    assert_eq!(fetcher.fetch_file(&weights()).unwrap(), path);
    assert_eq!(server.requests().len(), 2);
    assert!(server.requests().iter().all(|request| request.authorization.is_none()));

    server.set(resolve("sub/with%20space.json"), Answer::Body(b"{}".to_vec()));
    let other = PinnedFile::new(weights().source, "sub/with space.json");
    assert_eq!(fs::read(fetcher.fetch_file(&other).unwrap()).unwrap(), b"{}");
    // A branch that was resolved once stays at its commit.
    assert!(server.requests()[2].path.contains("/revision/c0ffee"));
    let folder = "downloads/hf/org+model/main";
    let expected = ["files/model.bin", "files/sub/with space.json", "manifest.json"];
    assert_eq!(files_below(dir.path()), expected.map(|name| format!("{folder}/{name}")));
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_where_it_redirects() {
    let (_dir, fetcher, server) = hub();
    let storage = Server::start();
    server.publish(&[("model.bin", &body())]);
    server.set(
        resolve("model.bin"),
        Answer::Redirect(format!("{}/blob", storage.address().replace("127.0.0.1", "localhost"))),
    );
    storage.set("/blob", Answer::Body(body()));
    let fetcher = fetcher.with_env("HF_TOKEN", "secret");
    assert_eq!(fs::read(fetcher.fetch_file(&weights()).unwrap()).unwrap(), body());
    let sent: Vec<_> = server.requests().into_iter().map(|request| request.authorization).collect();
    assert_eq!(sent, [Some("Bearer secret".to_string()), Some("Bearer secret".to_string())]);
    assert_eq!(storage.requests()[0].authorization, None);
}

#[test]
fn refusals_say_what_to_do_and_are_not_repeated() {
    for (status, token, part) in [
        (401, "", "set HF_TOKEN"),
        (403, "", "accept its licence"),
        (403, "secret", "refuses the token"),
        (404, "", "check `org/model`"),
        (418, "", "check HF_ENDPOINT"),
    ] {
        let (dir, fetcher, server) = hub();
        server.publish(&[("model.bin", &body())]);
        server.set("/api/models/org/model/revision/main?blobs=true", Answer::Status(status));
        let error = fetcher.with_env("HF_TOKEN", token).fetch_file(&weights()).unwrap_err();
        assert!(matches!(error, WeightsError::Download { .. }) && !error.is_bad_input());
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("org/model"), "`{text}` does not say `{part}`");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(server.requests().len(), 1);
        assert!(files_below(dir.path()).is_empty());
    }
}

#[test]
fn an_overloaded_hub_is_asked_again_and_then_given_up() {
    let (_dir, fetcher, server) = hub();
    server.publish(&[("model.bin", &body())]);
    server.set(resolve("model.bin"), Answer::Status(503));
    let error = fetcher.fetch_file(&weights()).unwrap_err().to_string();
    assert!(error.contains("try again later"), "{error}");
    assert_eq!(ranges(&server).len(), 4);
}

#[test]
fn what_is_not_a_hub_is_recognised() {
    let (_dir, fetcher, server) = hub();
    for listing in ["<html>", r#"{"sha":"","siblings":[]}"#, r#"{"sha":"../x","siblings":[]}"#] {
        server.set("/api/models/org/model/revision/main?blobs=true", Answer::Body(listing.into()));
        let error = fetcher.fetch_file(&weights()).unwrap_err().to_string();
        assert!(error.contains("check HF_ENDPOINT"), "{error}");
    }
    let error = fetcher.clone().with_env("HF_ENDPOINT", "ftp://x").fetch_file(&weights()).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("HF_ENDPOINT"), "{error}");
    // Nobody listens on port 9.
    let error = fetcher.with_env("HF_ENDPOINT", "http://127.0.0.1:9").fetch_file(&weights()).unwrap_err();
    assert!(error.to_string().contains("check the network"), "{error}");
}

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let (_dir, fetcher, server) = hub();
    server.publish(&[("model.bin", &body())]);
    server.set(resolve("model.bin"), Answer::CutAfter(500_000, body(), Times::Once));
    assert_eq!(fs::read(fetcher.fetch_file(&weights()).unwrap()).unwrap(), body());
    assert_eq!(ranges(&server), [None, Some("bytes=500000-".to_string())]);
}

#[test]
fn a_later_process_resumes_too() {
    let (dir, fetcher, server) = hub();
    server.publish(&[("model.bin", &body())]);
    server.set(resolve("model.bin"), Answer::CutAfter(0, body(), Times::Always));
    let error = fetcher.fetch_file(&weights()).unwrap_err().to_string();
    assert!(error.contains("run again to resume"), "{error}");
    // As a process killed after 400000 bytes leaves it.
    let partial = dir.path().join("downloads/hf/org+model/main/.partial/model.bin.c0ffee");
    fs::write(&partial, &body()[..400_000]).unwrap();
    server.publish(&[("model.bin", &body())]);
    assert_eq!(fs::read(fetcher.fetch_file(&weights()).unwrap()).unwrap(), body());
    assert_eq!(ranges(&server).last().unwrap().as_deref(), Some("bytes=400000-"));
    assert!(!partial.exists());
}

#[test]
fn a_damaged_or_foreign_partial_file_leads_to_a_fresh_start() {
    for left in [vec![7; 400_000], vec![7; body().len()], vec![7; 2 * body().len()]] {
        let (dir, fetcher, server) = hub();
        server.publish(&[("model.bin", &body())]);
        let partial = dir.path().join("downloads/hf/org+model/main/.partial/model.bin.c0ffee");
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(&partial, &left).unwrap();
        assert_eq!(fs::read(fetcher.fetch_file(&weights()).unwrap()).unwrap(), body());
    }
}

#[test]
fn a_server_without_ranges_starts_over() {
    let (dir, fetcher, server) = hub();
    server.publish(&[("model.bin", &body())]);
    server.set(resolve("model.bin"), Answer::NoRanges(body()));
    let partial = dir.path().join("downloads/hf/org+model/main/.partial/model.bin.c0ffee");
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &body()[..400_000]).unwrap();
    assert_eq!(fs::read(fetcher.fetch_file(&weights()).unwrap()).unwrap(), body());
}

#[test]
fn wrong_content_is_refused_and_nothing_becomes_visible() {
    let (dir, fetcher, server) = hub();
    let mut wrong = body();
    wrong[1000] ^= 1;
    server.publish(&[("model.bin", &body())]);
    for (answer, part) in [
        (wrong, "not the pinned file"),
        (body()[..1000].to_vec(), "shorter than announced"),
        (vec![0; body().len() + 1], "more than it announced"),
    ] {
        server.set(resolve("model.bin"), Answer::Body(answer));
        let error = fetcher.fetch_file(&weights()).unwrap_err().to_string();
        assert!(error.contains(part), "`{error}` does not say `{part}`");
        let visible = files_below(dir.path()).into_iter().filter(|name| !name.contains("/.partial/"));
        assert_eq!(visible.count(), 0);
    }
    // The user's own pin counts as well as the hub's.
    server.set(resolve("model.bin"), Answer::Body(body()));
    let error = fetcher.fetch_file(&weights().with_sha256("ab".repeat(32))).unwrap_err();
    assert!(matches!(error, WeightsError::WrongHash { .. }), "{error}");
    fetcher.fetch_file(&weights().with_sha256(sha256(&body())).with_size(body().len() as u64)).unwrap();
    let error = fetcher.fetch_file(&weights().with_size(1)).unwrap_err();
    assert!(matches!(error, WeightsError::WrongHash { .. }), "{error}");
}

#[test]
fn a_file_that_the_repository_lacks_or_that_leads_out_of_it_is_refused() {
    let (_dir, fetcher, server) = hub();
    server.publish(&[("model.bin", &body())]);
    let source = weights().source;
    let error = fetcher.fetch_file(&PinnedFile::new(source.clone(), "other.bin")).unwrap_err().to_string();
    assert!(error.contains("other.bin") && error.contains("no such file"), "{error}");
    for member in ["../x", "/x", "a/../../x"] {
        let error = fetcher.fetch_file(&PinnedFile::new(source.clone(), member)).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
    }
}
