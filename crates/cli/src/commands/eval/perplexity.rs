//! `safevlm eval perplexity`

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Args;

use crate::args::{ModelArgs, at_least_two};
use crate::error::CliError;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  safevlm eval perplexity --text book.txt
  safevlm eval perplexity --model safe-smol-q8_0 --text book.txt --json";

/// How well a model predicts a text: what quantization or training costs it as a language model.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A file in UTF-8.
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens of a part of the text that is predicted on its own.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_two)]
    window: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// More text than anybody waits for.
const MAX_TEXT_BYTES: u64 = 64 << 20;

pub(crate) fn run(args: &PerplexityArgs) -> Result<(), CliError> {
    let text = args.read()?;
    let model = args.model.load()?;
    let mut progress = None;
    let measured = model.perplexity(&text, args.window, &mut |_, windows| {
        progress.get_or_insert_with(|| Progress::over(windows, "windows")).advance();
    })?;
    drop(progress);
    let mut out = anstream::stdout();
    match args.json {
        true => {
            let named = serde_json::json!({ "model": model.name(), "weights": model.weights(), "window": args.window });
            let mut object = serde_json::to_value(measured).unwrap_or_default();
            if let (Some(object), serde_json::Value::Object(named)) = (object.as_object_mut(), named) {
                object.extend(named);
            }
            writeln!(out, "{object}")
        }
        false => writeln!(
            out,
            "{} ({}): perplexity {:.3} over {} tokens in {} windows of {}",
            model.name(),
            model.weights(),
            measured.perplexity,
            measured.tokens,
            measured.windows,
            args.window
        ),
    }
    .map_err(CliError::Output)
}

impl PerplexityArgs {
    fn read(&self) -> Result<String, CliError> {
        let bad = |reason: String| {
            CliError::Input(format!(
                "cannot read {}: {reason}; give a text in UTF-8 with `--text`",
                self.text.display()
            ))
        };
        let mut text = String::new();
        let file = File::open(&self.text).map_err(|error| bad(error.to_string()))?;
        file.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text).map_err(|error| bad(error.to_string()))?;
        match text.len() as u64 > MAX_TEXT_BYTES {
            true => Err(bad(format!("it has more than {MAX_TEXT_BYTES} bytes"))),
            false => Ok(text),
        }
    }
}
