//! A client for hubs that speak Hugging Face's protocol: listing a repository, and asking
//! for its files.
//!
//! Endpoints: `GET /api/models/{repo}/revision/{revision}?blobs=true` (files with their sizes and,
//! for large ones, SHA-256) and `GET /{repo}/resolve/{commit}/{path}`, as `huggingface_hub` uses.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};

use crate::error::WeightsError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// A listing of thousands of files has a few megabytes.
const MAX_LISTING_BYTES: u64 = 64 << 20;
/// Attempts without a single new byte before giving up.
pub(crate) const ATTEMPTS: u32 = 4;
/// A connection this long without a byte counts as broken.
const STALL: Duration = Duration::from_secs(60);

/// A connection to a hub.
pub(crate) struct Hub {
    agent: Agent,
    pub(crate) endpoint: String,
    token: Option<String>,
}

/// One file of a repository, as the hub lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HubFile {
    pub(crate) size: Option<u64>,
    /// Known for files in large-file storage, as all weights are.
    pub(crate) sha256: Option<String>,
}

/// A repository at one commit.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: BTreeMap<String, HubFile>,
}

#[derive(Deserialize)]
struct RawListing {
    sha: String,
    siblings: Vec<RawFile>,
}

#[derive(Deserialize)]
struct RawFile {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<RawLfs>,
}

#[derive(Deserialize)]
struct RawLfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Hub {
    /// A hub at `HF_ENDPOINT` with the token `HF_TOKEN`, looked up in `overrides` before the
    /// process's environment.
    pub(crate) fn from_env(overrides: &[(OsString, OsString)]) -> Result<Self, WeightsError> {
        let variable = |key: &str| {
            let given = overrides.iter().rev().find(|(name, _)| name == key);
            let value = given.map(|(_, value)| value.clone()).or_else(|| env::var_os(key));
            value.and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_string());
        let encrypted = endpoint.starts_with("https://");
        if !encrypted && !endpoint.starts_with("http://") {
            return Err(WeightsError::BadSource {
                text: endpoint,
                reason: "HF_ENDPOINT is not an http or https address".to_string(),
            });
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // An encrypted endpoint must not send a download, or the token, over plain HTTP.
            .https_only(encrypted)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(STALL))
            .timeout_per_read(Some(STALL))
            .user_agent(concat!("safevlm/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        Ok(Self {
            agent: config.build().into(),
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: variable("HF_TOKEN"),
        })
    }

    /// The files of `repo` at `revision`, and the commit that it stands for.
    pub(crate) fn list(&self, repo: &str, revision: &str) -> Result<Listing, WeightsError> {
        let what = format!("hf:{repo}@{revision}");
        let failed = |reason: String| WeightsError::Download { what: what.clone(), reason };
        let (endpoint, revision) = (&self.endpoint, encode(revision, false));
        let url = format!("{endpoint}/api/models/{repo}/revision/{revision}?blobs=true");
        let mut attempt = 0;
        let text = loop {
            attempt += 1;
            let answer = self.get(&url, 0).and_then(|mut response| {
                self.check(&response, repo)?;
                let body = response.body_mut().with_config().limit(MAX_LISTING_BYTES);
                body.read_to_string().map_err(Failure::connection)
            });
            match answer {
                Ok(text) => break text,
                Err(failure) if failure.retry && attempt < ATTEMPTS => pause(attempt),
                Err(failure) => return Err(failed(failure.reason)),
            }
        };
        let raw: RawListing = serde_json::from_str(&text)
            .map_err(|error| failed(format!("{endpoint} did not answer as a hub does ({error}); check HF_ENDPOINT")))?;
        let is_commit = |c: char| c.is_ascii_alphanumeric();
        if raw.sha.is_empty() || raw.sha.len() > 64 || !raw.sha.chars().all(is_commit) {
            return Err(failed(format!("{endpoint} names no commit; check HF_ENDPOINT")));
        }
        let files = raw.siblings.into_iter().map(|file| {
            let lfs = file.lfs.as_ref();
            let known = HubFile {
                size: lfs.and_then(|lfs| lfs.size).or(file.size),
                sha256: lfs.and_then(|lfs| lfs.sha256.clone()),
            };
            (file.rfilename, known)
        });
        Ok(Listing { commit: raw.sha, files: files.collect() })
    }

    /// Asks for `url` from byte `from` on.
    pub(crate) fn get(&self, url: &str, from: u64) -> Result<Response<ureq::Body>, Failure> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().map_err(Failure::connection)
    }

    /// Turns a refusal into a sentence with its remedy.
    pub(crate) fn check(&self, response: &Response<ureq::Body>, repo: &str) -> Result<(), Failure> {
        let status = response.status().as_u16();
        let endpoint = &self.endpoint;
        Err(match status {
            200..300 => return Ok(()),
            401 | 403 if self.token.is_none() => Failure::forever(format!(
                "{endpoint} refuses access (HTTP {status}): check the name `{repo}`, and for a private or gated repository accept its licence and set HF_TOKEN to a token that may read it"
            )),
            401 | 403 => Failure::forever(format!(
                "{endpoint} refuses the token in HF_TOKEN (HTTP {status}): accept the licence of `{repo}` and use a token that may read it"
            )),
            404 => Failure::forever(format!(
                "{endpoint} has no such file, repository or revision (HTTP 404): check `{repo}` and the revision"
            )),
            429 | 500.. => {
                Failure::again(format!("{endpoint} is overloaded or broken (HTTP {status}): try again later"))
            }
            _ => Failure::forever(format!("{endpoint} answers HTTP {status}: check HF_ENDPOINT")),
        })
    }
}

/// A request that did not succeed, and whether another one may.
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) retry: bool,
}

impl Failure {
    pub(crate) fn again(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason, retry: true }
    }

    pub(crate) fn forever(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason, retry: false }
    }

    pub(crate) fn connection(error: impl std::fmt::Display) -> Self {
        Self::again(format!(
            "the connection failed ({error}): check the network and proxy settings, and run again to resume"
        ))
    }
}

/// Waits before the next attempt.
pub(crate) fn pause(attempt: u32) {
    thread::sleep(Duration::from_millis(150 << attempt.min(6)));
}

/// Percent-encodes a part of an address; `slashes` are kept in paths, not in revisions.
pub(crate) fn encode(text: &str, slashes: bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            b'/' if slashes => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}
