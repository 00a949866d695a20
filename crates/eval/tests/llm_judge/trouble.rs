//! Endpoints in trouble: what is tried again, what is not, and what is said.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use safevlm_eval::{Judge, Judgement, LlmError, LlmJudge, LlmJudgeConfig, Secret};

use super::server::{Answer, Server};
use super::{KEY, TRUE, config, failure, judge, rows};

/// A server that gives `answers` to the first requests and good ones to all others.
fn after(answers: Vec<Answer>) -> Server {
    Server::start(move |request| answers.get(request.nth).cloned().unwrap_or_else(|| Answer::says(TRUE)))
}

#[test]
fn passing_troubles_pass() {
    let good = Answer::says(TRUE);
    let Answer::Http(_, _, body) = &good else { unreachable!() };
    for (what, answers) in [
        ("500 twice", vec![Answer::status(500), Answer::status(500)]),
        ("overload", vec![Answer::status(503), Answer::status(529), Answer::status(408)]),
        ("malformed", vec![Answer::Http(200, "", "{\"choices\": [".to_string())]),
        ("no completion", vec![Answer::Http(200, "", "{\"object\": \"list\"}".to_string())]),
        ("cut off", vec![Answer::CutOff(body.len() as u64, body[..body.len() / 2].to_string())]),
        ("nothing", vec![Answer::CutOff(100, String::new())]),
        ("slow", vec![Answer::Late(Duration::from_millis(1500), Box::new(good.clone()))]),
        ("429 without a time", vec![Answer::error(429, "slow down", "rate_limit_exceeded")]),
        ("429 with a date", vec![Answer::Http(429, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", String::new())]),
        ("429 that need not wait", vec![Answer::Http(429, "Retry-After: 0\r\n", String::new())]),
    ] {
        let troubles = answers.len() as u64;
        let server = after(answers);
        let timeout = Duration::from_millis(if what == "slow" { 700 } else { 20_000 });
        let (found, judge) = judge(LlmJudgeConfig { timeout, ..config(&server) }, &rows(2));
        assert_eq!(found.unwrap(), [Judgement::Correct; 2], "{what}");
        let usage = judge.usage();
        assert_eq!((usage.requests, usage.retries, usage.replies), (2 + troubles, troubles, 2), "{what}");
        let requests = server.requests();
        assert_eq!(requests[0].body, requests[1].body, "{what}");
    }
}

#[test]
fn retry_after_is_obeyed() {
    let server = after(vec![Answer::Http(429, "Retry-After: 1\r\n", String::new())]);
    let mut judge = LlmJudge::new(config(&server)).unwrap();
    judge.judge(&rows(2)).unwrap();
    let requests = server.requests();
    let waited = requests[1].at - requests[0].at;
    assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(20), "{waited:?}");
}

#[test]
fn a_trouble_that_stays_ends_the_run_and_keeps_what_was_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Some(folder.path().join("cache.jsonl"));
    let server = Server::start(|request| match request.nth {
        0 | 1 | 5.. => Answer::says(TRUE),
        _ => Answer::error(503, &format!("overloaded, {KEY}"), "overloaded"),
    });
    let patient = || LlmJudgeConfig { retries: 2, cache: cache.clone(), ..config(&server) };
    let (found, first) = judge(patient(), &rows(4));
    let error = failure(found);
    assert!(matches!(&error, LlmError::GaveUp { id: 2, attempts: 3, .. }), "{error:?}");
    for part in ["row 2", "after 3 attempts", "HTTP 503, \"overloaded, ***\"", "is in the cache"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!((first.usage().requests, first.usage().retries), (5, 2));
    drop(first);
    let (found, second) = judge(patient(), &rows(4));
    assert_eq!(found.unwrap(), [Judgement::Correct; 4]);
    assert_eq!((second.usage().requests, second.usage().cache_hits), (2, 2));
}

#[test]
fn what_stays_malformed_is_said() {
    let server = Server::start(|_| Answer::Http(200, "", "<html>".to_string()));
    let (found, _) = judge(LlmJudgeConfig { retries: 1, ..config(&server) }, &rows(1));
    let error = failure(found).to_string();
    assert!(error.contains("did not answer as a chat-completions endpoint does"), "{error}");
}

#[test]
fn what_will_not_pass_is_not_tried_again() {
    for (status, code, says) in [
        (401, "invalid_api_key", "refuses the key in TEST_JUDGE_KEY (HTTP 401, \"no ***\")"),
        (403, "", "refuses the key in TEST_JUDGE_KEY (HTTP 403"),
        (400, "invalid_request_error", "refuses the request (HTTP 400, \"no ***\")"),
        (404, "model_not_found", "check `--judge-url` and `--judge-model`"),
        (422, "", "refuses the request (HTTP 422"),
        (302, "", "refuses the request (HTTP 302"),
        (402, "", "top it up"),
        (429, "insufficient_quota", "top it up"),
    ] {
        let server = Server::start(move |_| Answer::error(status, &format!("no\n {KEY}"), code));
        let (found, judge) = judge(LlmJudgeConfig { concurrency: 3, ..config(&server) }, &rows(50));
        let error = failure(found).to_string();
        assert!(error.contains(says), "{status}: {error}");
        assert_eq!(judge.usage().retries, 0, "{status}");
        assert!(server.requests().len() <= 3, "{status}: the others stop too");
        assert!(!format!("{judge:?}").contains(KEY));
    }
}

#[test]
fn a_missing_key_is_asked_for() {
    let server = Server::start(|_| Answer::status(401));
    let (found, _) = judge(LlmJudgeConfig { api_key: None, ..config(&server) }, &rows(1));
    let error = failure(found).to_string();
    assert!(error.contains("wants a key (HTTP 401)") && error.contains("`--judge-key-env`"), "{error}");
    assert_eq!(format!("{:?}", Secret::new("A", KEY)), "Ok(Secret(A))");
}

#[test]
fn what_a_filter_keeps_back_is_a_row_without_a_verdict() {
    let server = after(vec![Answer::error(400, "filtered", "content_filter")]);
    let (found, judge) = judge(config(&server), &rows(2));
    assert_eq!(found.unwrap(), [Judgement::Unparsed, Judgement::Correct]);
    assert_eq!(judge.usage().requests, 2);
}

#[test]
fn a_huge_body_is_not_read() {
    for answer in [Answer::CutOff(10 << 40, "{".to_string()), Answer::Endless] {
        let server = Server::start(move |_| answer.clone());
        let (found, judge) = judge(config(&server), &rows(1));
        let error = failure(found).to_string();
        assert!(error.contains("a reply of more than a megabyte"), "{error}");
        assert_eq!(judge.usage().requests, 1);
    }
}

#[test]
fn nobody_there_is_said_at_once() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = LlmJudgeConfig::new(&format!("http://{address}/v1?key={KEY}"), "judge-1");
    let mut judge = LlmJudge::new(LlmJudgeConfig { backoff: Duration::from_secs(30), ..config }).unwrap();
    let began = Instant::now();
    let error = failure(judge.judge(&rows(3))).to_string();
    assert!(error.contains("cannot be reached") && error.contains("`--judge-url`"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20), "no retries before the first answer");
}

#[test]
fn one_failure_wakes_those_that_wait() {
    // One thread waits long for a retry, the other is refused.
    let server = Server::start(|request| match request.text().contains("answer 0.") {
        true => Answer::Http(429, "Retry-After: 30\r\n", String::new()),
        false => Answer::Late(Duration::from_millis(100), Box::new(Answer::error(401, "no", ""))),
    });
    let began = Instant::now();
    let (found, _) = judge(LlmJudgeConfig { concurrency: 2, ..config(&server) }, &rows(2));
    assert!(matches!(failure(found), LlmError::KeyRefused { .. }));
    assert!(began.elapsed() < Duration::from_secs(20));
}
