//! A conversation with images, before any chat template.

use std::sync::Arc;

use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions of the application.
    System,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The role as chat templates spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// An index into [`Conversation::images`].
    Image(usize),
    /// Text as it was typed: role markers and image placeholders in it mean nothing.
    Text(String),
}

/// What one role said in one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// The pieces in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// The message's text parts, joined without a separator.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Image(_) => None,
            })
            .collect()
    }
}

/// The turns so far and the images they refer to.
///
/// ```
/// use std::sync::Arc;
/// use safevlm_core::{Conversation, RgbImage};
///
/// let photo = Arc::new(RgbImage::new(2, 2));
/// let conversation = Conversation::new()
///     .system("Answer in one sentence.")
///     .user("What is this?", [photo]);
/// assert_eq!(conversation.messages.len(), 2);
/// assert!(conversation.has_images());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The turns, oldest first.
    pub messages: Vec<Message>,
    /// The images, in the order in which the messages show them.
    pub images: Vec<Arc<RgbImage>>,
}

impl Conversation {
    /// A conversation in which nothing has been said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a system message.
    pub fn system(self, text: impl Into<String>) -> Self {
        self.message(Role::System, text.into(), [])
    }

    /// Adds a user message that shows `images` and then says `text`.
    pub fn user(self, text: impl Into<String>, images: impl IntoIterator<Item = Arc<RgbImage>>) -> Self {
        self.message(Role::User, text.into(), images)
    }

    /// Adds an answer of the model.
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(Role::Assistant, text.into(), [])
    }

    /// Whether any image was shown.
    pub fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    fn message(mut self, role: Role, text: String, images: impl IntoIterator<Item = Arc<RgbImage>>) -> Self {
        let mut parts = Vec::new();
        for image in images {
            parts.push(Part::Image(self.images.len()));
            self.images.push(image);
        }
        parts.push(Part::Text(text));
        self.messages.push(Message { role, parts });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_numbered_across_messages_and_come_before_the_text() {
        let images: Vec<Arc<RgbImage>> = (1..4).map(|n| Arc::new(RgbImage::new(n, n))).collect();
        let conversation = Conversation::new()
            .system("Be brief.")
            .user("Which?", images[..2].iter().cloned())
            .assistant("The first.")
            .user("And this?", [images[2].clone()]);

        assert_eq!(conversation.images, images);
        assert_eq!(conversation.messages[1].parts, [Part::Image(0), Part::Image(1), Part::Text("Which?".into())]);
        assert_eq!(conversation.messages[3].parts, [Part::Image(2), Part::Text("And this?".into())]);
        assert_eq!(conversation.messages[3].text(), "And this?");
        let roles: Vec<&str> = conversation.messages.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
    }
}
