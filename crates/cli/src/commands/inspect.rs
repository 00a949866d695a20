//! `safevlm inspect`

use std::io::{self, Write};

use clap::Args;
use safevlm::{FloatDtype, InspectOptions, Inspection, inspect, inspect_published, published_names, registry};

use crate::error::CliError;
use crate::terminal::{ALARM, CALM, DIM, TITLE};

const EXAMPLES: &str = "\
Nothing is loaded: only headers are read, and no parameter is made.

Examples:
  safevlm inspect safe-smol
  safevlm inspect path/to/SafeLLaVA-7B --dtype bf16 --context 4096
  safevlm inspect path/to/model --tensors
  safevlm inspect --preset safe-qwen2.5-vl-7b --json";

/// Say what a model consists of, whether its checkpoint fits, and how much memory it needs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArgs {
    /// A name from `safevlm models`, or a folder with a config.json.
    #[arg(value_name = "NAME|DIR", required_unless_present = "preset")]
    model: Option<String>,
    /// A published size instead, by its name; its tensors are known without having it.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    preset: Option<String>,
    /// The type that it would be computed in: f32, f16 or bf16.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: FloatDtype,
    /// Tokens that the memory estimate counts [default: the model's whole context].
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Read all values, and name the tensors that hold NaN or infinities.
    #[arg(long)]
    check: bool,
    /// List every tensor with its parameter and shape.
    #[arg(long)]
    tensors: bool,
    /// Print one JSON object with all of it.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let options = InspectOptions { dtype: args.dtype, context: args.context, check: args.check };
    let found = match (&args.model, &args.preset) {
        (Some(model), _) => inspect(&registry::resolve(model)?, &options)?,
        (None, Some(preset)) => inspect_published(preset, &options)?,
        (None, None) => {
            return Err(CliError::Input(format!("name a folder, or one of {}", published_names().join(", "))));
        }
    };
    if args.json {
        let json = serde_json::to_string_pretty(&found).map_err(|error| CliError::Output(error.into()))?;
        writeln!(io::stdout(), "{json}").map_err(CliError::Output)?;
    } else {
        write_report(&mut anstream::stdout(), &found, args.tensors).map_err(CliError::Output)?;
    }
    match found.misfit {
        Some(misfit) => Err(CliError::Input(misfit)),
        None => Ok(()),
    }
}

fn write_report(out: &mut dyn Write, found: &Inspection, tensors: bool) -> io::Result<()> {
    let Inspection { model, family, context, parameters, tensors: report, memory, .. } = found;
    writeln!(out, "{TITLE}{model}{TITLE:#}  {family}, context of {context} tokens")?;
    let guard = parameters.guard.map_or_else(|| "none".to_owned(), grouped);
    for (part, count) in [
        ("vision encoder", grouped(parameters.vision)),
        ("projector", grouped(parameters.projector)),
        ("language model", grouped(parameters.language_model)),
        ("guard head", guard),
        ("parameters", grouped(parameters.total)),
    ] {
        writeln!(out, "  {part:15} {count:>15}")?;
    }
    if tensors {
        for tensor in &report.applied {
            let (name, field, shape, stored) = (&tensor.name, &tensor.field, &tensor.shape, tensor.stored);
            writeln!(out, "  {name} {DIM}{stored} {shape:?} \u{2192} {field}{DIM:#}")?;
        }
    }
    for field in &report.missing {
        writeln!(out, "  {ALARM}missing{ALARM:#}  {} {:?}", field.field, field.shape)?;
    }
    for tensor in &report.unused {
        writeln!(out, "  {DIM}unused{DIM:#}   {} {:?}", tensor.name, tensor.shape)?;
    }
    for pair in &report.misshapen {
        let (parameter, tensor) = (&pair.parameter, &pair.tensor);
        let (field, name) = (&parameter.field, &tensor.name);
        writeln!(out, "  {ALARM}shape{ALARM:#}    {field} {:?}, but {name} {:?}", parameter.shape, tensor.shape)?;
    }
    let style = if found.misfit.is_none() { CALM } else { ALARM };
    let verdict = if found.misfit.is_none() { "fits" } else { "does not fit" };
    writeln!(out, "{style}{verdict}{style:#}: {report}")?;
    writeln!(out, "memory: {memory}")
}

/// A number with its thousands apart: 6 460 180.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 6_460_180].map(grouped), ["0", "999", "1 000", "6 460 180"]);
    }
}
