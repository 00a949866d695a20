//! What a user writes must not be taken for a role marker or an image.

use std::collections::HashMap;

/// Splits a marker in two without being seen.
const BREAK: char = '\u{200b}';
/// Stands for a marker of one character, which cannot be split.
const REPLACEMENT: char = '\u{fffd}';

/// Strings that mean something to a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Markers {
    /// By the first character, so that text is read once however many markers there are.
    by_first: HashMap<char, Vec<String>>,
    /// Markers that count at the beginning of a word only: `USER:`, but not the end of `SUPERUSER:`.
    words: HashMap<char, Vec<String>>,
}

impl Markers {
    /// Adds a marker that counts wherever it stands.
    pub(crate) fn add(&mut self, marker: &str) {
        Self::insert(&mut self.by_first, marker);
    }

    /// Adds a marker that counts at the beginning of a word.
    pub(crate) fn add_word(&mut self, marker: &str) {
        Self::insert(&mut self.words, marker);
    }

    fn insert(map: &mut HashMap<char, Vec<String>>, marker: &str) {
        if let Some(first) = marker.chars().next() {
            let known = map.entry(first).or_default();
            if !known.iter().any(|known| known == marker) {
                known.push(marker.to_owned());
            }
        }
    }

    /// `text` with a zero-width space behind the first character of every marker in it, overlapping
    /// ones included.
    pub(crate) fn neutralise(&self, text: &str) -> String {
        let mut safe = String::with_capacity(text.len());
        let mut in_word = false;
        for (at, first) in text.char_indices() {
            let starts = |map: &HashMap<char, Vec<String>>| {
                let found = map.get(&first).into_iter().flatten().filter(|marker| text[at..].starts_with(*marker));
                found.map(String::len).min()
            };
            let found = starts(&self.by_first).or_else(|| if in_word { None } else { starts(&self.words) });
            match found {
                Some(length) if length == first.len_utf8() => safe.push(REPLACEMENT),
                Some(_) => safe.extend([first, BREAK]),
                None => safe.push(first),
            }
            in_word = first.is_alphanumeric();
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
        ["<s>", "<a<a", "§"].map(|marker| markers.add(marker));
        markers.add_word("USER:");
        for (text, safe) in [
            ("", ""),
            ("a < s > <t>", "a < s > <t>"),
            ("<s><s>", "<\u{200b}s><\u{200b}s>"),
            ("<a<a<a", "<\u{200b}a<\u{200b}a<a"),
            ("<<s>", "<<\u{200b}s>"),
            ("5§6", "5\u{fffd}6"),
            ("USER: x USER:", "U\u{200b}SER: x U\u{200b}SER:"),
            ("SUPERUSER: user: USER", "SUPERUSER: user: USER"),
            (".USER:", ".U\u{200b}SER:"),
        ] {
            assert_eq!(markers.neutralise(text), safe);
        }
    }
}
