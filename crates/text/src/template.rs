//! The checkpoint's Jinja chat template, rendered as transformers renders it.

use std::path::Path;

use minijinja::context;
use safevlm_core::conversation::{Conversation, Message, Part, Role};
use serde_json::{Value, json};

use crate::error::{TextError, read_json, read_limited};
use crate::guard;
use crate::neutral::Markers;
use crate::probe::{self, Content};
use crate::published::PublishedTemplate;
use crate::tokenizer::TextTokenizer;

/// Far larger than any published template; those of `tokenizer_config.json` come with its tokens.
const TEMPLATE_LIMIT: u64 = 256 << 10;
const CONFIG_LIMIT: u64 = 4 << 20;

/// A chat template with the special tokens it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
    bos_token: String,
    eos_token: String,
    content: Content,
    /// Role markers that are no tokens: `USER:`.
    roles: Vec<String>,
}

impl ChatTemplate {
    /// Takes the template from `chat_template.jinja`, or else from `chat_template.json`, or else from
    /// `tokenizer_config.json`. Where there are several by name, it is the one called `default`.
    ///
    /// # Errors
    ///
    /// If no file has one, or it is no valid template.
    pub fn from_dir(dir: &Path) -> Result<Self, TextError> {
        let config = optional_json(&dir.join("tokenizer_config.json"))?;
        let source = match find(dir, &config)? {
            Some(source) => source,
            // Names the file that should be there.
            None => read_limited(&dir.join("chat_template.jinja"), TEMPLATE_LIMIT)?,
        };
        Self::new(source, token(&config, "bos_token"), token(&config, "eos_token"))
    }

    /// The same, and `published` where the folder has no template.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or its template is not valid.
    pub fn from_dir_or(dir: &Path, published: PublishedTemplate) -> Result<Self, TextError> {
        let config = optional_json(&dir.join("tokenizer_config.json"))?;
        match find(dir, &config)? {
            Some(source) => Self::new(source, token(&config, "bos_token"), token(&config, "eos_token")),
            None => published.template(),
        }
    }

    /// Compiles `template`, and finds out whether it takes a message's content as a list of parts.
    ///
    /// # Errors
    ///
    /// If it is no valid template.
    pub fn new(template: String, bos_token: String, eos_token: String) -> Result<Self, TextError> {
        let source = without_generation(template);
        guard::check(&source)?;
        let mut template = Self { source, bos_token, eos_token, content: Content::Text, roles: Vec::new() };
        template.content = probe::content(|messages| template.fill(messages, true));
        template.roles = probe::roles(template.content, |messages| template.fill(messages, true));
        Ok(template)
    }

    /// The prompt of `conversation`, ending where the assistant's answer begins or, if it has given one already, behind
    /// it. Each image becomes `placeholder`, which a template that takes parts writes itself; special tokens,
    /// placeholders and role markers inside the texts are neutralised.
    ///
    /// # Errors
    ///
    /// If the template refuses the conversation, or writes more or fewer placeholders than it has images.
    pub fn render(
        &self,
        conversation: &Conversation,
        placeholder: &str,
        tokenizer: &TextTokenizer,
    ) -> Result<String, TextError> {
        let markers = self.markers(placeholder, tokenizer);
        let message = |message: &Message| {
            // Texts that meet are one text, and those that a template may put together are neutralised
            // together: a special token torn into two parts would become whole again.
            let stretches = message.parts.chunk_by(|a, b| matches!((a, b), (Part::Text(_), Part::Text(_))));
            let stretches: Vec<Option<String>> = stretches.map(text_of).collect();
            let texts: Vec<&str> = stretches.iter().flatten().map(String::as_str).collect();
            let mut texts = markers.neutralise_all(&texts).into_iter();
            let stretches = stretches.iter().map(|text| text.as_ref().and_then(|_| texts.next()));
            let content = self.content.write(stretches, placeholder);
            json!({ "role": message.role.as_str(), "content": content })
        };
        let asked = conversation.messages.last().is_none_or(|message| message.role != Role::Assistant);
        let prompt = self.fill(conversation.messages.iter().map(message).collect(), asked)?;
        let images = conversation.messages.iter().flat_map(|message| &message.parts);
        let expected = images.filter(|part| matches!(part, Part::Image(_))).count();
        let found = if placeholder.is_empty() { expected } else { prompt.matches(placeholder).count() };
        if found != expected {
            return Err(TextError::Images { placeholder: placeholder.to_owned(), expected, found });
        }
        Ok(prompt)
    }

    /// What no text may contain: special tokens, the placeholder, role markers, and those other added
    /// tokens that the template itself writes (Qwen's `<tool_call>`).
    fn markers(&self, placeholder: &str, tokenizer: &TextTokenizer) -> Markers {
        let mut markers = tokenizer.markers().clone();
        markers.add(placeholder);
        let written =
            |token: &&str| token.chars().count() > 1 && !token.trim().is_empty() && self.source.contains(*token);
        tokenizer.plain_added().filter(written).for_each(|token| markers.add(token));
        self.roles.iter().for_each(|role| markers.add(role));
        markers
    }

    /// With `asked`, it ends where an answer begins.
    fn fill(&self, messages: Vec<Value>, asked: bool) -> Result<String, minijinja::Error> {
        let context = context! {
            messages => messages,
            add_generation_prompt => asked,
            bos_token => self.bos_token,
            eos_token => self.eos_token,
        };
        guard::render(&self.source, context)
    }
}

/// The text of parts that belong together, and none of an image.
fn text_of(parts: &[Part]) -> Option<String> {
    let text = |part: &Part| match part {
        Part::Text(text) => Some(text.clone()),
        Part::Image(_) => None,
    };
    parts.iter().map(text).collect()
}

fn optional_json(path: &Path) -> Result<Value, TextError> {
    if path.exists() { read_json(path, CONFIG_LIMIT) } else { Ok(Value::Null) }
}

/// The folder's template.
fn find(dir: &Path, config: &Value) -> Result<Option<String>, TextError> {
    let file = dir.join("chat_template.jinja");
    if file.exists() {
        return read_limited(&file, TEMPLATE_LIMIT).map(Some);
    }
    let processor = optional_json(&dir.join("chat_template.json"))?;
    Ok(named_default(&processor["chat_template"]).or_else(|| named_default(&config["chat_template"])))
}

/// A template as configurations spell it: its text, a list of `{"name", "template"}`, or an object.
fn named_default(value: &Value) -> Option<String> {
    let text = match value {
        Value::Array(list) => &list.iter().find(|entry| entry["name"] == "default")?["template"],
        Value::Object(map) => map.get("default")?,
        text => text,
    };
    text.as_str().map(str::to_owned)
}

/// A special token: its text alone, or an object.
fn token(config: &Value, key: &str) -> String {
    let token = &config[key];
    token.as_str().or_else(|| token["content"].as_str()).unwrap_or_default().to_owned()
}

/// `{% generation %}` and its end mark what is trained on, and are nothing to a prompt. They become
/// comments, which trim white space alike.
fn without_generation(template: String) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template.as_str();
    while let Some(start) = rest.find("{%") {
        let (before, block) = rest.split_at(start);
        text.push_str(before);
        let length = block.find("%}").map_or(block.len(), |end| end + 2);
        let (block, after) = block.split_at(length);
        let inner = block.trim_start_matches("{%").trim_end_matches("%}");
        let name = inner.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        if matches!(name, "generation" | "endgeneration") {
            let sign = |c: Option<char>| c.filter(|c| matches!(c, '-' | '+')).map(String::from).unwrap_or_default();
            text.push_str(&format!("{{#{} {}#}}", sign(inner.chars().next()), sign(inner.chars().next_back())));
        } else {
            text.push_str(block);
        }
        rest = after;
    }
    text.push_str(rest);
    text
}
