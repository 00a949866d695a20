//! What a chat-completions endpoint answers.

use serde::Deserialize;

use super::verdict::parse_verdict;

/// Characters of an error that are shown.
const SHOWN: usize = 200;

/// A reply that was paid for.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The text, or what the endpoint gave instead of one.
    pub(super) text: String,
    /// `stop`, `length`, `content_filter`, ...
    pub(super) finish_reason: Option<String>,
    /// None where the endpoint does not count.
    pub(super) tokens: Option<Tokens>,
}

/// Tokens that a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Tokens {
    #[serde(rename = "prompt_tokens", default)]
    pub(super) prompt: u64,
    #[serde(rename = "completion_tokens", default)]
    pub(super) completion: u64,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    /// Where the judge itself refuses to look at it.
    refusal: Option<String>,
}

impl Reply {
    /// Reads the body of an answer with status 200.
    ///
    /// A reply without a choice or without text is one without a verdict: filters of some endpoints answer so.
    ///
    /// # Errors
    /// A clause that says why this is no reply.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let parsed: Completion = serde_json::from_slice(body).map_err(|error| match ErrorBody::parse(body) {
            Some(said) if !said.message.is_empty() => format!("it answered with an error, {}", said.message),
            _ => format!("it did not answer as a chat-completions endpoint does ({error})"),
        })?;
        let Some(choice) = parsed.choices.into_iter().next() else {
            return Ok(Self { finish_reason: Some("no choice".to_string()), tokens: parsed.usage, ..Self::default() });
        };
        let text = choice.message.content.or(choice.message.refusal).unwrap_or_default();
        Ok(Self { text, finish_reason: choice.finish_reason, tokens: parsed.usage })
    }

    /// True where the model behaved as it should; none without a clear verdict.
    pub(super) fn verdict(&self) -> Option<bool> {
        parse_verdict(&self.text)
    }
}

/// What endpoints say with an error, in the shapes that are about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    /// Shortened, on one line.
    pub(super) message: String,
    /// Such as `insufficient_quota`.
    pub(super) code: String,
}

impl ErrorBody {
    /// `{"error": {"message", "code"}}`, `{"error": ".."}`, `{"message": ..}` or `{"detail": ..}`.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        let error = value.get("error").unwrap_or(&value);
        let text = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
        let message = error.as_str().or_else(|| text("message")).or_else(|| text("detail")).unwrap_or_default();
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = text("code").or_else(|| text("type")).unwrap_or_default().to_string();
        Some(Self { message: line.chars().take(SHOWN).collect(), code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_in_the_shapes_that_occur() {
        let reply = Reply::parse(
            br#"{"choices": [{"message": {"content": "<label>True</label>"}, "finish_reason": "stop"}],
                 "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}"#,
        )
        .unwrap();
        assert_eq!(reply.verdict(), Some(true));
        assert_eq!(reply.tokens, Some(Tokens { prompt: 7, completion: 3 }));
        for body in [
            r#"{"choices": []}"#,
            r#"{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}"#,
            r#"{"choices": [{"message": {"refusal": "I cannot look at this."}}]}"#,
        ] {
            assert_eq!(Reply::parse(body.as_bytes()).unwrap().verdict(), None, "{body}");
        }
    }

    #[test]
    fn what_is_no_reply_is_said() {
        for (body, says) in [
            ("<html>", "did not answer as a chat-completions endpoint"),
            ("{}", "did not answer as a chat-completions endpoint"),
            (r#"{"error": {"message": "upstream\n is down"}}"#, "answered with an error, upstream is down"),
        ] {
            let reason = Reply::parse(body.as_bytes()).unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[test]
    fn errors_in_their_shapes() {
        for (body, message, code) in [
            (r#"{"error": {"message": "no", "code": "insufficient_quota"}}"#, "no", "insufficient_quota"),
            (r#"{"error": "no"}"#, "no", ""),
            (r#"{"object": "error", "message": "no", "type": "BadRequest", "code": 400}"#, "no", "BadRequest"),
            (r#"{"detail": "no"}"#, "no", ""),
            ("[1]", "", ""),
        ] {
            let said = ErrorBody::parse(body.as_bytes()).unwrap();
            assert_eq!((said.message.as_str(), said.code.as_str()), (message, code), "{body}");
        }
        assert_eq!(ErrorBody::parse(b"<html>"), None);
    }
}
