//! `safevlm models`

use std::io::{self, Write};

use clap::Args;
use safevlm::Cache;
use safevlm::registry::{self, ModelEntry};
use serde::Serialize;

use crate::error::CliError;
use crate::terminal::{CALM, DIM, TITLE};

const EXAMPLES: &str = "\
Examples:
  safevlm models
  safevlm models --json | jq -r '.[] | select(.installed).name'";

/// List the models: name, family, parameters, licence, source, and whether they are installed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ModelsArgs {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// One model as the table and the JSON show it.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    family: &'static str,
    parameters: u64,
    licence: &'static str,
    source: &'static str,
    description: &'static str,
    installed: bool,
    path: Option<String>,
}

impl Row {
    fn new(entry: &ModelEntry, cache: &Cache) -> Self {
        let path = registry::installed(cache, entry.name);
        Self {
            name: entry.name,
            family: entry.family,
            parameters: entry.parameters,
            licence: entry.licence,
            source: entry.source,
            description: entry.description,
            installed: path.is_some(),
            path: path.map(|path| path.display().to_string()),
        }
    }
}

pub(crate) fn run(args: &ModelsArgs) -> Result<(), CliError> {
    let cache = Cache::open(None).map_err(safevlm::Error::from)?;
    let rows: Vec<Row> = registry::models().iter().map(|entry| Row::new(entry, &cache)).collect();
    if args.json {
        let json = serde_json::to_string_pretty(&rows).map_err(|error| CliError::Output(error.into()))?;
        return writeln!(io::stdout(), "{json}").map_err(CliError::Output);
    }
    write_table(&mut anstream::stdout(), &rows).map_err(CliError::Output)
}

fn write_table(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    let titles = ["NAME", "FAMILY", "PARAMETERS", "LICENCE", "INSTALLED", "SOURCE"].map(str::to_owned);
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            let installed = if row.installed { "yes" } else { "no" };
            [row.name, row.family, &short(row.parameters), row.licence, installed, row.source].map(str::to_owned)
        })
        .collect();
    let width = |column: usize| {
        let lengths = cells.iter().chain([&titles]).map(|line| line[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |cells: &[String; 6]| -> [String; 6] {
        let mut line = cells.clone();
        for (cell, width) in line.iter_mut().zip(widths) {
            *cell = format!("{cell:width$}");
        }
        line
    };
    writeln!(out, "{TITLE}{}{TITLE:#}", line(&titles).join("  "))?;
    for (row, cells) in rows.iter().zip(&cells) {
        let style = if row.installed { CALM } else { DIM };
        let [name, family, parameters, licence, installed, source] = line(cells);
        writeln!(out, "{name}  {family}  {parameters}  {licence}  {style}{installed}{style:#}  {source}")?;
    }
    if rows.iter().any(|row| !row.installed) {
        writeln!(out, "{DIM}`safevlm import NAME` installs a model.{DIM:#}")?;
    }
    Ok(())
}

/// A number of parameters as people write it: 135M, 7.1B.
fn short(parameters: u64) -> String {
    let scaled = |unit: f64, suffix: &str| {
        let value = parameters as f64 / unit;
        if value < 10.0 { format!("{value:.1}{suffix}") } else { format!("{value:.0}{suffix}") }
    };
    match parameters {
        0..1_000 => parameters.to_string(),
        1_000..1_000_000 => scaled(1e3, "K"),
        1_000_000..1_000_000_000 => scaled(1e6, "M"),
        _ => scaled(1e9, "B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_short() {
        assert_eq!(short(999), "999");
        assert_eq!(short(134_515_008), "135M");
        assert_eq!(short(4_652_008), "4.7M");
        assert_eq!(short(7_062_902_784), "7.1B");
    }

    #[test]
    fn the_table_is_aligned() {
        let row = |name, installed| Row {
            name,
            family: "f",
            parameters: 1_000,
            licence: "MIT",
            source: "pip:x==1",
            description: "d",
            installed,
            path: None,
        };
        let mut out = anstream::StripStream::new(Vec::new());
        write_table(&mut out, &[row("a", true), row("longer", false)]).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME    FAMILY  PARAMETERS  LICENCE  INSTALLED  SOURCE");
        assert_eq!(lines[1], "a       f       1.0K        MIT      yes        pip:x==1");
        assert_eq!(lines[2], "longer  f       1.0K        MIT      no         pip:x==1");
        assert_eq!(lines[3], "`safevlm import NAME` installs a model.");
    }
}
