//! Limits on what a template from a stranger can make the program do.
//!
//! minijinja counts instructions, but one instruction can double a string. So before a template is
//! compiled its syntax tree is written anew ([`rewrite`]): every operand that could be copied, printed,
//! compared or searched passes through a function that measures it and takes its size off a budget.
//! What a rendering may build is then bounded by the budget, and so is the time of one instruction.

mod budget;
mod filters;
mod rewrite;
mod syntax;

use std::sync::Arc;

use minijinja::machinery::{CodeGenerator, Vm, WhitespaceConfig, make_string_output, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};

use crate::clock;
use budget::Budget;

/// Instructions of the template's virtual machine; a real template needs some thousands.
const FUEL: u64 = 5_000_000;
/// The name in error messages.
const NAME: &str = "chat_template";

/// Renders the template `source` with `context` as transformers does, or stops it.
///
/// # Errors
///
/// If the template is none, raises an exception, or exceeds a limit.
pub(crate) fn render(source: &str, context: Value) -> Result<String, Error> {
    let budget = Arc::new(Budget::for_input(&context)?);
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    filters::install(&mut environment, &budget);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| clock::strftime_now(&format));

    let whitespace = WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true };
    syntax::check(source, whitespace)?;
    let tree = parse(source, NAME, SyntaxConfig, whitespace)?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&rewrite::statement(&tree));
    let (instructions, blocks) = generator.finish();
    let mut prompt = String::new();
    Vm::new(&environment).eval(
        &instructions,
        context,
        &blocks,
        &mut make_string_output(&mut prompt),
        AutoEscape::None,
    )?;
    Ok(prompt)
}

/// Whether `source` is a template.
///
/// # Errors
///
/// If it is none.
pub(crate) fn check(source: &str) -> Result<(), Error> {
    let whitespace = WhitespaceConfig::default();
    syntax::check(source, whitespace)?;
    parse(source, NAME, SyntaxConfig, whitespace).map(drop)
}
