//! Where the visual tokens of an image lie.

use safevlm_core::View;

/// The visual tokens of one image over the part of it that the model sees, row by row from the upper left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenGrid {
    /// Tokens from left to right.
    pub columns: usize,
    /// Tokens from top to bottom.
    pub rows: usize,
    /// What the grid covers, in the image's pixels.
    pub view: View,
}

impl TokenGrid {
    /// A square of `tokens` over `view`; none if they make no square.
    pub fn square(tokens: usize, view: View) -> Option<Self> {
        let side = tokens.isqrt();
        (side > 0 && side * side == tokens).then_some(Self { columns: side, rows: side, view })
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.columns * self.rows
    }
}
