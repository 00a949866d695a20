//! Templates whose nesting would overflow the stack of parser or compiler.

use minijinja::machinery::{Token, WhitespaceConfig, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

/// Tokens between one pair of braces. Operators of equal rank nest to the left without a limit of the
/// parser's own; published templates have some fifty.
const TOKENS_LIMIT: usize = 600;
/// `elif`s of a whole template, which nest too.
const ELIF_LIMIT: usize = 200;

/// Refuses a template of which no published one comes near.
pub(crate) fn check(source: &str, whitespace: WhitespaceConfig) -> Result<(), Error> {
    let refuse = |what: &'static str| Err(Error::new(ErrorKind::SyntaxError, what));
    let (mut tokens, mut elifs) = (0, 0);
    for token in tokenize(source, false, SyntaxConfig, whitespace) {
        match token?.0 {
            Token::BlockStart | Token::VariableStart => tokens = 0,
            Token::Ident("elif") => elifs += 1,
            _ => {}
        }
        tokens += 1;
        if tokens > TOKENS_LIMIT {
            return refuse("an expression is longer than in any real chat template");
        }
        if elifs > ELIF_LIMIT {
            return refuse("there are more branches than in any real chat template");
        }
    }
    Ok(())
}
