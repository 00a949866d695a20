//! The address that is asked.

use ureq::http::Uri;

use super::error::LlmError;

/// Behind an API's base.
const PATH: &str = "/chat/completions";

/// The address of a chat-completions endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// What requests are sent to.
    pub(super) url: String,
    /// The address without its query, for errors: a query may hold a key.
    pub(super) shown: String,
    /// Whether connections are encrypted.
    pub(super) encrypted: bool,
    /// Whether it is on this machine.
    pub(super) local: bool,
}

impl Endpoint {
    /// Takes an API's base (`https://api.openai.com/v1`) or the whole address, with or without a query.
    pub(super) fn parse(text: &str) -> Result<Self, LlmError> {
        let bad = |reason| LlmError::BadUrl { reason };
        let uri: Uri = text.trim().parse().map_err(|_| bad("is not an address"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err(bad("does not begin with https:// or http://"));
        }
        let authority = uri.authority().ok_or(bad("names no server"))?;
        if authority.as_str().contains('@') {
            return Err(bad("holds a name or password; take it out and use `--judge-key-env`"));
        }
        let base = uri.path().trim_end_matches('/');
        let path = if base.ends_with(PATH) { base.to_string() } else { format!("{base}{PATH}") };
        let shown = format!("{scheme}://{authority}{path}");
        let url = uri.query().map_or_else(|| shown.clone(), |query| format!("{shown}?{query}"));
        let host = authority.host().trim_matches(['[', ']']);
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        Ok(Self { url, shown, encrypted: scheme == "https", local })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_and_a_whole_address_mean_the_same() {
        for text in ["https://a.example/v1", "https://a.example/v1/", " https://a.example/v1/chat/completions "] {
            assert_eq!(Endpoint::parse(text).unwrap().url, "https://a.example/v1/chat/completions", "{text}");
        }
        let query = Endpoint::parse("https://a.example/v1?key=secret").unwrap();
        assert_eq!(query.url, "https://a.example/v1/chat/completions?key=secret");
        assert_eq!(query.shown, "https://a.example/v1/chat/completions");
    }

    #[test]
    fn this_machine_is_known() {
        for (text, local) in [
            ("http://localhost:8000/v1", true),
            ("http://127.0.0.1:8000", true),
            ("http://[::1]:8000", true),
            ("http://10.0.0.7:8000", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().local, local, "{text}");
        }
    }

    #[test]
    fn a_bad_address_is_refused_and_not_repeated() {
        for text in
            ["", "sk-secret", "api.example/v1", "ftp://a.example", "https://me:sk-secret@a.example/v1", "https://"]
        {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(error.contains("`--judge-url`") && !error.contains("sk-secret"), "{text}: {error}");
        }
    }
}
