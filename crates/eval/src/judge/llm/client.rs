//! One request to a chat-completions endpoint.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use ureq::Agent;
use ureq::http::HeaderMap;
use ureq::tls::{RootCerts, TlsConfig};

use super::endpoint::Endpoint;
use super::error::LlmError;
use super::reply::{ErrorBody, Reply};
use super::secret::Secret;

/// A reply of 100 tokens has a few kilobytes, whatever else a server tells about it.
const MAX_REPLY_BYTES: u64 = 1 << 20;
const MAX_ERROR_BYTES: u64 = 1 << 16;
const CONNECT: Duration = Duration::from_secs(20);

/// Sends requests.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: Endpoint,
    key: Option<Secret>,
    /// Whether the endpoint ever answered. Before that a refused connection is no passing trouble.
    reached: AtomicBool,
}

/// A request that brought no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt would bring none either.
    Final(LlmError),
    /// Another attempt may.
    Again {
        /// A clause.
        reason: String,
        /// How long the endpoint wants to be left alone.
        wait: Option<Duration>,
    },
}

impl Client {
    pub(super) fn new(endpoint: Endpoint, key: Option<Secret>, timeout: Duration, connections: usize) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirected POST would lose its body, or take the key elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .https_only(endpoint.encrypted)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(timeout))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .user_agent(concat!("safevlm/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        if endpoint.local {
            config = config.proxy(None);
        }
        Self { agent: config.build().into(), endpoint, key, reached: AtomicBool::new(false) }
    }

    /// The body of a request: one user turn, the picture (a `data:` address) before the text.
    pub(super) fn body(model: &str, max_output_tokens: u32, prompt: &str, picture: Option<&str>) -> Vec<u8> {
        let mut content = Vec::new();
        content.extend(picture.map(|url| json!({"type": "image_url", "image_url": {"url": url}})));
        content.push(json!({"type": "text", "text": prompt}));
        let request = json!({
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": max_output_tokens,
        });
        request.to_string().into_bytes()
    }

    /// Sends one request and reads what comes back.
    pub(super) fn ask(&self, body: &[u8]) -> Result<Reply, Failure> {
        let mut request = self.agent.post(&self.endpoint.url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {}", key.expose()));
        }
        let mut response = request.send(body).map_err(|error| self.failed(&error))?;
        self.reached.store(true, Ordering::Relaxed);
        let status = response.status().as_u16();
        if status != 200 {
            let wait = retry_after(response.headers());
            let body = response.body_mut().with_config().limit(MAX_ERROR_BYTES).read_to_vec().unwrap_or_default();
            return self.refused(status, wait, &ErrorBody::parse(&body).unwrap_or_default());
        }
        let too_long = || Failure::Final(self.refusal(status, ", and a reply of more than a megabyte"));
        if response.body().content_length().is_some_and(|length| length > MAX_REPLY_BYTES) {
            return Err(too_long());
        }
        match response.body_mut().with_config().limit(MAX_REPLY_BYTES).read_to_vec() {
            Ok(body) => Reply::parse(&body).map_err(|reason| again(self.hide_key(&reason))),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_long()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// What to make of a connection that failed.
    fn failed(&self, error: &ureq::Error) -> Failure {
        let reason = self.hide_key(&error.to_string());
        let first = !self.reached.load(Ordering::Relaxed);
        let passing = match error {
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => !first,
            // A certificate that is not trusted is invalid data.
            ureq::Error::Io(error) => {
                !(first && matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::InvalidData))
            }
            ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::BodyStalled => true,
            _ => false,
        };
        match passing {
            true => again(format!("the connection failed ({reason})")),
            false => Failure::Final(LlmError::Unreachable { endpoint: self.endpoint.shown.clone(), reason }),
        }
    }

    /// What to make of a status other than 200.
    fn refused(&self, status: u16, wait: Option<Duration>, said: &ErrorBody) -> Result<Reply, Failure> {
        let message = self.hide_key(&said.message);
        let says = if message.is_empty() { message } else { format!(", \"{message}\"") };
        let endpoint = self.endpoint.shown.clone();
        match (status, said.code.as_str()) {
            // What the endpoint's own filter keeps from its model is a row without a verdict.
            (400, "content_filter" | "content_policy_violation") => {
                let finish_reason = Some(said.code.clone());
                Ok(Reply { text: says, finish_reason, ..Reply::default() })
            }
            (429, "insufficient_quota") | (402, _) => Err(Failure::Final(LlmError::Spent { endpoint, status, says })),
            (408 | 409 | 425 | 429 | 500.., _) => {
                Err(Failure::Again { reason: format!("{endpoint} answered HTTP {status}{says}"), wait })
            }
            (401 | 403, _) => Err(Failure::Final(match &self.key {
                None => LlmError::NoKey { endpoint, status },
                Some(key) => LlmError::KeyRefused { endpoint, variable: key.variable().to_string(), status, says },
            })),
            _ => Err(Failure::Final(self.refusal(status, &says))),
        }
    }

    fn refusal(&self, status: u16, says: &str) -> LlmError {
        LlmError::Refused { endpoint: self.endpoint.shown.clone(), status, says: says.to_string() }
    }

    fn hide_key(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_string(), |key| key.remove_from(text))
    }
}

fn again(reason: String) -> Failure {
    Failure::Again { reason, wait: None }
}

/// `Retry-After` in seconds. A date, which clocks disagree about, counts as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?;
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}
