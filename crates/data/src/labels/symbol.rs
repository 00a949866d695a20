//! One symbol: how each vendor names it, and what it is called in an answer.

/// A symbol that several vendors have drawn.
#[derive(Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Unicode code points, hyphenated, without U+FE0F; empty where Unicode has no such emoji.
    pub code: &'static str,
    /// Unicode's name as Iconify writes it, for example `red-apple`; empty as above.
    pub slug: &'static str,
    /// Names in fxemoji, separated by spaces.
    pub fx: &'static str,
    /// Names in game-icons, separated by spaces: one symbol, several designs.
    pub game: &'static str,
    /// Plain English with its article, for example `a red apple`.
    pub name: &'static str,
    /// Whether it is drawn in Unicode's five skin tones too.
    pub toned: bool,
}

impl Symbol {
    /// What the symbol is called in this crate: the slug, else the first game-icons name.
    pub fn key(&self) -> &'static str {
        match self.slug {
            "" => self.game.split_whitespace().next().unwrap_or_default(),
            slug => slug,
        }
    }
}

/// A symbol in one colour scheme.
pub(super) const fn sym(
    code: &'static str,
    slug: &'static str,
    fx: &'static str,
    game: &'static str,
    name: &'static str,
) -> Symbol {
    Symbol { code, slug, fx, game, name, toned: false }
}

/// A symbol in every skin tone.
pub(super) const fn toned(
    code: &'static str,
    slug: &'static str,
    fx: &'static str,
    game: &'static str,
    name: &'static str,
) -> Symbol {
    Symbol { code, slug, fx, game, name, toned: true }
}
