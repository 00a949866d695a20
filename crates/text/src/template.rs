//! The checkpoint's Jinja chat template, rendered as transformers renders it.

use std::path::Path;

use minijinja::{Environment, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use safevlm_core::conversation::{Conversation, Part};
use serde_json::{Value, json};

use crate::error::{TextError, read_limited};
use crate::tokenizer::TextTokenizer;

/// Far larger than any published template.
const TEMPLATE_LIMIT: u64 = 4 << 20;
/// Instructions of the template's virtual machine; a real template needs some thousands.
const FUEL: u64 = 5_000_000;

/// A chat template with the special tokens it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Takes the template from `chat_template.jinja`, or else from `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// If neither file has one, or it is no valid template.
    pub fn from_dir(dir: &Path) -> Result<Self, TextError> {
        let config = dir.join("tokenizer_config.json");
        let config: Value = match config.exists() {
            true => serde_json::from_str(&read_limited(&config, TEMPLATE_LIMIT)?)
                .map_err(|e| TextError::Tokenizer { path: config, reason: e.to_string() })?,
            false => Value::Null,
        };
        let file = dir.join("chat_template.jinja");
        let template = match config.get("chat_template").and_then(Value::as_str) {
            Some(text) if !file.exists() => text.to_owned(),
            _ => read_limited(&file, TEMPLATE_LIMIT)?,
        };
        let token = |key: &str| match config.get(key) {
            Some(Value::String(token)) => token.clone(),
            Some(Value::Object(token)) => token.get("content").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        Self::new(template, token("bos_token"), token("eos_token"))
    }

    /// Compiles `template`.
    ///
    /// # Errors
    ///
    /// If it is no valid template.
    pub fn new(template: String, bos_token: String, eos_token: String) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned("chat", template)?;
        Ok(Self { environment, bos_token, eos_token })
    }

    /// The prompt of `conversation`, ending where the assistant's answer begins. Each image becomes
    /// `placeholder`; special tokens inside the texts are neutralised.
    ///
    /// # Errors
    ///
    /// If the template refuses the conversation.
    pub fn render(
        &self,
        conversation: &Conversation,
        placeholder: &str,
        tokenizer: &TextTokenizer,
    ) -> Result<String, TextError> {
        let messages: Vec<Value> = conversation
            .messages
            .iter()
            .map(|message| {
                // Texts that meet are neutralised together: a special token torn into two parts would
                // become whole again.
                let texts = message.parts.chunk_by(|a, b| matches!((a, b), (Part::Text(_), Part::Text(_))));
                let content: String = texts
                    .map(|parts| match parts {
                        [Part::Image(_), ..] => placeholder.to_owned(),
                        texts => tokenizer.neutralise(&texts.iter().filter_map(text_of).collect::<String>()),
                    })
                    .collect();
                json!({ "role": message.role.as_str(), "content": content })
            })
            .collect();
        let context = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => self.bos_token,
            eos_token => self.eos_token,
        };
        Ok(self.environment.get_template("chat")?.render(context)?)
    }
}

fn text_of(part: &Part) -> Option<&str> {
    match part {
        Part::Text(text) => Some(text),
        Part::Image(_) => None,
    }
}
