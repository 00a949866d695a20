//! What a template expects, found out by rendering a small conversation with it.

use serde_json::{Value, json};

/// Text that no template writes of its own accord.
const QUESTION: &str = "zqxj question";
const ANSWER: &str = "zqxj answer";
const MORE: &str = "zqxj more";
/// A value that only a template that prints a whole part would write.
const HIDDEN: &str = "zqxj hidden";

/// How a template takes a message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// As one string, in which the images are placeholders.
    Text,
    /// As a list of `{"type": "image"}` and `{"type": "text", "text": ..}`.
    Parts,
}

impl Content {
    /// A message's content: its texts, and `None` for every image.
    pub(crate) fn write(self, stretches: impl Iterator<Item = Option<String>>, placeholder: &str) -> Value {
        match self {
            Self::Text => {
                stretches.map(|text| text.unwrap_or_else(|| placeholder.to_owned())).collect::<String>().into()
            }
            Self::Parts => stretches
                .map(|text| match text {
                    Some(text) => json!({ "type": "text", "text": text }),
                    None => json!({ "type": "image" }),
                })
                .collect(),
        }
    }
}

/// A template takes parts if it writes the text of a part once and the part itself nowhere. All
/// others get strings: they print a list as a list, drop it or fail.
pub(crate) fn content(render: impl Fn(Vec<Value>) -> Result<String, minijinja::Error>) -> Content {
    let parts = json!([{ "type": "text", "text": QUESTION, "hidden": HIDDEN }]);
    match render(vec![json!({ "role": "user", "content": parts })]) {
        Ok(prompt) if prompt.matches(QUESTION).count() == 1 && !prompt.contains(HIDDEN) => Content::Parts,
        _ => Content::Text,
    }
}

/// Role markers that end with a colon, such as Vicuna's `USER:` and `ASSISTANT:`: what stands before
/// each text, apart from white space and special tokens. Roles that are special tokens are not among
/// them; those the tokenizer knows.
pub(crate) fn roles(content: Content, render: impl Fn(Vec<Value>) -> Result<String, minijinja::Error>) -> Vec<String> {
    let message = |role: &str, text: &str| {
        let content = content.write(std::iter::once(Some(text.to_owned())), "");
        json!({ "role": role, "content": content })
    };
    let Ok(prompt) = render(vec![message("user", QUESTION), message("assistant", ANSWER), message("user", MORE)])
    else {
        return Vec::new();
    };
    let starts = [QUESTION, ANSWER, MORE].iter().filter_map(|text| prompt.find(text)).map(|at| &prompt[..at]);
    let mut roles = Vec::new();
    for before in starts.chain([prompt.as_str()]) {
        let before = before.trim_end();
        let word =
            before.rsplit(|c: char| c.is_whitespace() || matches!(c, '>' | ']' | '|')).next().unwrap_or_default();
        let name = word.trim_end_matches(':');
        if word.len() == name.len() + 1 && name.len() > 1 && !roles.iter().any(|role| role == word) {
            roles.push(word.to_owned());
        }
    }
    roles
}
