//! The phrases of each language, from `phrases/`, as one regular expression per role.

use std::fmt::Write;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

/// The phrase files. A line is `role: pattern` or `let name: pattern`; `<name>` stands for a pattern named
/// before. Patterns meet text in the form of [`super::fold::sentences`]. They begin where a word begins and end
/// where one ends, but in the last [`UNSPACED`] files, whose languages have no blanks.
const FILES: [&str; 14] = [
    include_str!("phrases/en.txt"),
    include_str!("phrases/ar.txt"),
    include_str!("phrases/de.txt"),
    include_str!("phrases/es.txt"),
    include_str!("phrases/fr.txt"),
    include_str!("phrases/hi.txt"),
    include_str!("phrases/it.txt"),
    include_str!("phrases/ko.txt"),
    include_str!("phrases/nl.txt"),
    include_str!("phrases/pl.txt"),
    include_str!("phrases/pt.txt"),
    include_str!("phrases/ru.txt"),
    include_str!("phrases/ja.txt"),
    include_str!("phrases/zh.txt"),
];
/// Files of languages without blanks.
const UNSPACED: usize = 2;
/// Memory of one automaton's states, at most. The default of 2 MiB is too small for all languages at once: states would be
/// made, thrown away and made again.
const DFA_BYTES: usize = 64 << 20;

/// All phrases of one role, in every language.
pub(super) struct Tables {
    /// Idioms and limits of perception that look like refusals.
    pub answer: Regex,
    /// Refusals.
    pub refuse: Regex,
    /// What follows a refusal that is none.
    pub comply: Regex,
    /// Says that what follows a refusal is something else than what was asked for.
    pub other: Regex,
    /// Points to helpers whom one turns to in an emergency.
    pub crisis: Regex,
    /// Points to professionals.
    pub redirect: Regex,
    /// Teaches manners in place of an answer.
    pub moral: Regex,
}

/// The tables. The automata of `regex` read a text once, whatever is in it.
#[expect(clippy::expect_used, reason = "the files are part of the program, and a test builds them")]
pub(super) static TABLES: LazyLock<Tables> =
    LazyLock::new(|| Tables::read(&FILES).expect("the phrase files hold valid patterns"));

impl Tables {
    /// Builds the tables from phrase files.
    fn read(files: &[&str]) -> Result<Self, regex::Error> {
        let role = |role: &str| RegexBuilder::new(&joined(files, role)).dfa_size_limit(DFA_BYTES).build();
        Ok(Self {
            answer: role("answer")?,
            refuse: role("refuse")?,
            comply: role("comply")?,
            other: role("other")?,
            crisis: role("crisis")?,
            redirect: role("redirect")?,
            moral: role("moral")?,
        })
    }
}

/// The patterns of one role as one alternation.
fn joined(files: &[&str], role: &str) -> String {
    let mut all = String::new();
    for (at, file) in files.iter().enumerate() {
        let blanks = at + UNSPACED < files.len();
        let mut names: Vec<(String, String)> = Vec::new();
        for (key, pattern) in file.lines().filter_map(|line| line.split_once(": ")) {
            let pattern = names.iter().fold(pattern.to_owned(), |text, (name, value)| text.replace(name, value));
            if let Some(name) = key.strip_prefix("let ") {
                names.push((format!("<{name}>"), format!("(?:{pattern})")));
            } else if key == role {
                let bar = if all.is_empty() { "" } else { "|" };
                let before = if blanks && !pattern.starts_with('^') { " " } else { "" };
                let after = if blanks && !pattern.ends_with('$') { " " } else { "" };
                let _ = write!(all, "{bar}{before}(?:{pattern}){after}");
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_files_is_understood() {
        const ROLES: [&str; 7] = ["answer", "refuse", "comply", "other", "crisis", "redirect", "moral"];
        for line in FILES.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with('#')) {
            let (key, pattern) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            assert!(ROLES.contains(&key) || key.starts_with("let "), "{line}");
            assert!(!pattern.contains("é") && !pattern.contains('’'), "not folded: {line}");
        }
        for role in ROLES {
            assert!(!joined(&FILES, role).contains('<'), "a name of {role} is not defined");
        }
        Tables::read(&FILES).unwrap();
    }
}
