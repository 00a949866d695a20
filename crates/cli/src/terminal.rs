//! What is particular to terminals: colours, and text that must not steer them.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

/// For what is flagged, and for errors.
pub(crate) const ALARM: Style = AnsiColor::Red.on_default().bold();
/// For what should be looked at.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// For what is safe.
pub(crate) const CALM: Style = AnsiColor::Green.on_default();
/// For titles.
pub(crate) const TITLE: Style = Style::new().bold();
/// For what matters less.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Whether a person reads standard output as it is written.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether progress on standard error has a reader.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Writes `error: ...` as one line. Nothing can be done when that fails too.
pub(crate) fn report_error(error: &dyn Display) {
    report(ALARM, "error", error);
}

/// Writes `warning: ...` as one line.
pub(crate) fn report_warning(warning: &dyn Display) {
    report(WARNING, "warning", warning);
}

/// Writes something worth knowing as one line to standard error.
pub(crate) fn note(text: &dyn Display) {
    let _ = writeln!(anstream::stderr(), "{DIM}{}{DIM:#}", harmless(&text.to_string()));
}

fn report(style: Style, kind: &str, message: &dyn Display) {
    let text = message.to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(anstream::stderr(), "{style}{kind}:{style:#} {}", harmless(&line));
}

/// Replaces control characters except line breaks and tabs: a file's name or a model's words must
/// not move the cursor, change colours or set the title of the terminal.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(is_control) { Cow::Owned(text.replace(is_control, "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(harmless("a\x1b[31mb\rc\u{9b}d"), "a\u{FFFD}[31mb\u{FFFD}c\u{FFFD}d");
        assert_eq!(harmless("two\nlines\tand ünïcode"), "two\nlines\tand ünïcode");
    }
}
