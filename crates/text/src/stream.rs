//! Text as it is generated, never split inside a character.

use crate::error::TextError;
use crate::tokenizer::TextTokenizer;

/// Turns generated ids into pieces of text, holding back what is not yet a whole character, and what
/// may be the beginning of a stop string.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a TextTokenizer,
    stop: &'a [String],
    ids: Vec<u32>,
    /// Ids before `read` are decoded for good; those from `context` on are decoded again with what
    /// follows, because some tokenizers drop the space of a first token.
    context: usize,
    read: usize,
    text: String,
    /// Bytes of `text` handed out.
    sent: usize,
}

/// What one more token brought.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// New text, possibly empty.
    pub text: String,
    /// Whether a stop string was reached; it is not part of the text.
    pub stopped: bool,
}

impl<'a> TextStream<'a> {
    /// A stream that ends at any of the `stop` strings.
    pub fn new(tokenizer: &'a TextTokenizer, stop: &'a [String]) -> Self {
        Self { tokenizer, stop, ids: Vec::new(), context: 0, read: 0, text: String::new(), sent: 0 }
    }

    /// Adds one token.
    ///
    /// # Errors
    ///
    /// If the tokenizer's decoder fails.
    pub fn push(&mut self, id: u32) -> Result<Piece, TextError> {
        self.ids.push(id);
        let fresh = self.decode_fresh()?;
        // A replacement character at the end may be a character whose last bytes are still to come.
        // However many stray bytes lie before it, cutting there would cut a character in two.
        if fresh.is_empty() || fresh.ends_with('\u{fffd}') {
            return Ok(Piece { text: String::new(), stopped: false });
        }
        self.text.push_str(&fresh);
        self.context = self.read;
        self.read = self.ids.len();
        Ok(self.emit(false))
    }

    /// Ends the stream and hands out what was held back.
    ///
    /// # Errors
    ///
    /// If the tokenizer's decoder fails.
    pub fn finish(&mut self) -> Result<Piece, TextError> {
        let fresh = self.decode_fresh()?;
        self.text.push_str(&fresh);
        self.read = self.ids.len();
        Ok(self.emit(true))
    }

    /// Text of the ids from `read` on.
    fn decode_fresh(&self) -> Result<String, TextError> {
        let before = self.tokenizer.decode(&self.ids[self.context..self.read])?;
        let after = self.tokenizer.decode(&self.ids[self.context..])?;
        match after.strip_prefix(&before) {
            Some(fresh) => Ok(fresh.to_owned()),
            // What was handed out stands, whatever later tokens make of it.
            None => self.tokenizer.decode(&self.ids[self.read..]),
        }
    }

    /// Everything handed out so far.
    pub fn text(&self) -> &str {
        &self.text[..self.sent]
    }

    fn emit(&mut self, last: bool) -> Piece {
        let fresh = &self.text[self.sent..];
        let stop = self.stop.iter().filter(|s| !s.is_empty()).filter_map(|s| fresh.find(s.as_str())).min();
        let held = if last { 0 } else { self.stop.iter().map(|s| overlap(fresh, s)).max().unwrap_or(0) };
        let end = self.sent + stop.unwrap_or(fresh.len() - held);
        let text = self.text[self.sent..end].to_owned();
        self.sent = end;
        Piece { text, stopped: stop.is_some() }
    }
}

/// Length of the longest end of `text` with which `stop` begins.
fn overlap(text: &str, stop: &str) -> usize {
    (1..=stop.len().min(text.len()))
        .rev()
        .find(|n| {
            text.is_char_boundary(text.len() - n) && stop.as_bytes().starts_with(&text.as_bytes()[text.len() - n..])
        })
        .unwrap_or(0)
}
