//! What a user writes must not be taken for a role marker or an image.

use std::collections::HashMap;

/// Splits a marker in two without being seen.
const BREAK: char = '\u{200b}';
/// Stands for a marker of one character, which cannot be split.
const REPLACEMENT: char = '\u{fffd}';

/// Strings that mean something to a model, by their first character, so that text is read once however
/// many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Markers(HashMap<char, Vec<String>>);

impl Markers {
    /// Adds a marker.
    pub(crate) fn add(&mut self, marker: &str) {
        if let Some(first) = marker.chars().next() {
            let known = self.0.entry(first).or_default();
            if !known.iter().any(|known| known == marker) {
                known.push(marker.to_owned());
            }
        }
    }

    /// `text` with a zero-width space behind the first character of every marker in it, overlapping
    /// ones included.
    pub(crate) fn neutralise(&self, text: &str) -> String {
        self.neutralise_all(&[text]).concat()
    }

    /// Texts of which none, and no two put together, has a marker.
    pub(crate) fn neutralise_all<T: AsRef<str>>(&self, texts: &[T]) -> Vec<String> {
        let whole: String = texts.iter().map(AsRef::as_ref).collect();
        let mut start = 0;
        let mut safe = Vec::with_capacity(texts.len());
        for text in texts {
            let end = start + text.as_ref().len();
            let mut part = String::with_capacity(end - start);
            for (at, first) in whole[start..end].char_indices() {
                let rest = &whole[start + at..];
                let found = self.0.get(&first).into_iter().flatten().filter(|marker| rest.starts_with(*marker));
                match found.map(String::len).min() {
                    Some(length) if length == first.len_utf8() => part.push(REPLACEMENT),
                    Some(_) => part.extend([first, BREAK]),
                    None => part.push(first),
                }
            }
            safe.push(part);
            start = end;
        }
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marker_is_broken_and_nothing_else() {
        let mut markers = Markers::default();
        for marker in ["<s>", "<a<a", "§", "USER:"] {
            markers.add(marker);
        }
        for (text, safe) in [
            ("", ""),
            ("a < s > <t>", "a < s > <t>"),
            ("<s><s>", "<\u{200b}s><\u{200b}s>"),
            ("<a<a<a", "<\u{200b}a<\u{200b}a<a"),
            ("<<s>", "<<\u{200b}s>"),
            ("5§6", "5\u{fffd}6"),
            ("USER: x USER:", "U\u{200b}SER: x U\u{200b}SER:"),
            ("user: USER", "user: USER"),
        ] {
            assert_eq!(markers.neutralise(text), safe);
        }
        // Some templates write a message's images first and then its texts.
        assert_eq!(markers.neutralise_all(&["a <", "s", "> b"]), ["a <\u{200b}", "s", "> b"]);
    }
}
