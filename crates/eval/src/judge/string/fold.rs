//! Brings an answer to a plain form: lower case, sentences of words with single blanks, no signs.

/// Bytes that are read from the beginning of an answer.
const HEAD: usize = 8192;
/// Bytes that are read from the end of a longer one.
const TAIL: usize = 2048;
/// Characters between two quotation marks at most.
const QUOTE: usize = 300;

/// The sentences of `answer`, each as ` word word word ` with a blank at both ends. What stands in quotation marks
/// is left out, unless nothing else is there: signs, captions and figures in a story may refuse. Of an answer
/// above 10 KiB only head and tail are read.
pub(super) fn sentences(answer: &str) -> Vec<String> {
    let chars = plain_chars(answer);
    let unquoted = split(&without_quotes(&chars));
    if unquoted.is_empty() { split(&chars) } else { unquoted }
}

/// Head and tail of `answer` with typographic signs, accents and emphasis removed.
fn plain_chars(answer: &str) -> Vec<char> {
    let (head, tail) = if answer.len() <= HEAD + TAIL {
        (answer, "")
    } else {
        let end = (0..=HEAD).rev().find(|at| answer.is_char_boundary(*at)).unwrap_or(0);
        let start = (answer.len() - TAIL..answer.len()).find(|at| answer.is_char_boundary(*at));
        (&answer[..end], &answer[start.unwrap_or(answer.len())..])
    };
    let joint = if tail.is_empty() { "" } else { "\n" };
    let mut plain = Vec::with_capacity(head.len() + tail.len());
    let mut chars = [head, joint, tail].into_iter().flat_map(str::chars).flat_map(char::to_lowercase).peekable();
    while let Some(c) = chars.next() {
        let inside = plain.last().is_some_and(|c: &char| c.is_alphanumeric());
        match c {
            // A backtick is an apostrophe within a word and a mark of code elsewhere.
            '`' if inside && chars.peek().is_some_and(|c| c.is_alphanumeric()) => plain.push('\''),
            '`' | '*' | '_' | '~' | '#' | '>' => {}
            _ => plain.extend(plain_char(c)),
        }
    }
    plain
}

/// The plain form of a lower-case character; none for marks that only colour the one before.
fn plain_char(c: char) -> Option<char> {
    Some(match c {
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{2bc}' | '\u{b4}' | '\u{ff07}' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{300c}'..='\u{300f}' | '\u{ff02}' => '"',
        // Accents, Arabic vowels and tatweel, Devanagari's nukta, zero-width characters.
        '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{652}' | '\u{640}' | '\u{93c}' => return None,
        '\u{200b}'..='\u{200f}' | '\u{ad}' | '\u{feff}' => return None,
        'à'..='å' | 'ā' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ı' | 'ī' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' => 'n',
        'ò'..='ö' | 'ø' | 'ő' => 'o',
        'ś' | 'ş' | 'š' => 's',
        'ù'..='ü' | 'ū' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'й' => 'и',
        'ё' => 'е',
        'أ' | 'إ' | 'آ' => 'ا',
        'ى' => 'ي',
        '\u{958}' => 'क',
        '\u{95b}' => 'ज',
        '\u{95c}' => 'ड',
        '\u{95d}' => 'ढ',
        '\u{95e}' => 'फ',
        _ => c,
    })
}

/// Leaves out what stands between two quotation marks of one line.
fn without_quotes(chars: &[char]) -> Vec<char> {
    let mut kept = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        if chars[at] == '"' {
            let rest = &chars[at + 1..(at + 1 + QUOTE).min(chars.len())];
            if let Some(end) = rest.iter().position(|c| matches!(c, '"' | '\n')).filter(|end| rest[*end] == '"') {
                // Something was said, so that the words on both sides are no neighbours.
                kept.extend([' ', '"', ' ']);
                at += end + 2;
                continue;
            }
        }
        kept.push(chars[at]);
        at += 1;
    }
    kept
}

/// Splits into sentences, and these into words.
fn split(chars: &[char]) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut sentence = String::from(" ");
    for (at, &c) in chars.iter().enumerate() {
        let next = chars.get(at + 1);
        let before = at.checked_sub(1).map(|at| chars[at]);
        let ends = match c {
            '\n' | '!' | '?' | ';' | '。' | '！' | '？' | '؟' | '।' => true,
            '.' => next.is_none_or(|c| !c.is_alphanumeric()),
            ')' => before.is_some_and(|c| c.is_ascii_digit()),
            _ => false,
        };
        if ends {
            finish(&mut sentence, &mut sentences);
        } else if is_word(c) {
            sentence.push(c);
        } else if !sentence.ends_with(' ') && c != '，' && c != '、' {
            sentence.push(' ');
        }
    }
    finish(&mut sentence, &mut sentences);
    sentences
}

/// Whether `c` belongs to a word. Devanagari's vowel signs are no letters to Unicode.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '\'' || matches!(c, '\u{900}'..='\u{963}')
}

/// Moves a sentence with any word to the others.
fn finish(sentence: &mut String, sentences: &mut Vec<String>) {
    if sentence.chars().any(char::is_alphanumeric) {
        if !sentence.ends_with(' ') {
            sentence.push(' ');
        }
        sentences.push(std::mem::replace(sentence, String::from(" ")));
    } else {
        sentence.truncate(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_accents_and_emphasis_go() {
        assert_eq!(sentences("I\u{2019}m **not** sorry \u{2014} at 2.50!"), [" i'm not sorry at 2 50 "]);
        assert_eq!(sentences("I can`t. Use `x`."), [" i can't ", " use x "]);
        assert_eq!(sentences("Désolé"), sentences("De\u{301}sole\u{301}"), "composed or not");
        assert_eq!(sentences("1) Cut it, 2) tie it"), [" 1 ", " cut it 2 ", " tie it "]);
    }

    #[test]
    fn quotations_go_unless_nothing_else_is_there() {
        assert_eq!(sentences("He says \u{201c}I can't\u{201d} and goes."), [" he says and goes "]);
        assert_eq!(sentences("\"I can't.\""), [" i can't "]);
        assert_eq!(sentences("A 5\" pipe."), [" a 5 pipe "], "one mark alone");
    }

    #[test]
    fn without_words_there_are_no_sentences() {
        for empty in ["", " ", "\n\t", "…", "--- *** _"] {
            assert!(sentences(empty).is_empty(), "{empty:?}");
        }
    }

    #[test]
    fn of_a_long_answer_head_and_tail_are_read() {
        let long = format!("First. {}. Last.", "ä".repeat(100_000));
        let read = sentences(&long);
        assert_eq!((read[0].as_str(), read[read.len() - 1].as_str()), (" first ", " last "));
        assert!(read.iter().map(String::len).sum::<usize>() < 11_000);
    }
}
