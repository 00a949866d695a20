//! The table of verdicts: its columns, and two of its three formats.

use std::io::{self, Write};
use std::path::Path;

use safevlm::Verdict;
use serde::{Deserialize, Serialize};

use super::parquet_file;
use super::report::Line;
use crate::error::CliError;

/// How the table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values (RFC 4180) with a line of names.
    Csv,
    /// The objects of `guard --json`, one a line, with `error` where there is no verdict.
    JsonLines,
}

impl Format {
    /// By the file's ending.
    pub(crate) fn of(path: &Path) -> Result<Self, CliError> {
        match path.extension().map(|ending| ending.to_ascii_lowercase()).as_deref().and_then(|ending| ending.to_str()) {
            Some("parquet") => Ok(Self::Parquet),
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::JsonLines),
            _ => Err(CliError::Input(format!(
                "`{}` has no known ending; end the file of `--out` in .parquet, .csv or .jsonl",
                path.display()
            ))),
        }
    }
}

/// One file: a verdict, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) safety: Option<Verdict>,
    pub(crate) error: Option<String>,
}

/// A column's name and type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Flag,
    Number,
}

/// What one row has in one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Missing,
    Text(&'a str),
    Whole(usize),
    Flag(bool),
    Number(f32),
}

/// The columns before the probabilities; `error` comes behind them.
const FIRST: [(&str, Kind); 7] = [
    ("path", Kind::Text),
    ("label", Kind::Text),
    ("label_id", Kind::Whole),
    ("category", Kind::Text),
    ("flagged", Kind::Flag),
    ("unsafe_probability", Kind::Number),
    ("threshold", Kind::Number),
];

/// The columns of a table of verdicts with these labels. A label that is called like another column gets a `_`.
pub(crate) fn columns(labels: &[String]) -> Vec<Column> {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let mut columns: Vec<Column> = FIRST.iter().map(|(name, kind)| column(name, *kind)).collect();
    for label in labels {
        let mut name = label.clone();
        while name == "error" || columns.iter().any(|column| column.name == name) {
            name.push('_');
        }
        columns.push(Column { name, kind: Kind::Number });
    }
    columns.push(column("error", Kind::Text));
    columns
}

/// The cells of one row, as many as the columns for `labels`.
pub(crate) fn cells<'a>(row: &'a Row, labels: &[String]) -> Vec<Cell<'a>> {
    let text = |text: Option<&'a String>| text.map_or(Cell::Missing, |text| Cell::Text(text));
    let mut cells = vec![Cell::Text(&row.path)];
    match &row.safety {
        Some(verdict) => {
            cells.extend([
                Cell::Text(&verdict.label),
                Cell::Whole(verdict.label_id),
                text(verdict.category.as_ref()),
                Cell::Flag(verdict.flagged),
                Cell::Number(verdict.unsafe_probability),
                Cell::Number(verdict.threshold),
            ]);
            let probability = |label| verdict.probabilities.get(label).copied().map_or(Cell::Missing, Cell::Number);
            cells.extend(labels.iter().map(probability));
        }
        None => cells.extend(vec![Cell::Missing; FIRST.len() - 1 + labels.len()]),
    }
    cells.push(text(row.error.as_ref()));
    cells
}

/// The rows that come one after another, since all together may be more than memory.
pub(crate) type Rows<'a> = dyn Iterator<Item = io::Result<Row>> + 'a;

/// Writes the whole table.
pub(crate) fn write(
    format: Format,
    labels: &[String],
    rows: &mut Rows<'_>,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    match format {
        Format::Parquet => parquet_file::write(labels, rows, out),
        Format::Csv => write_csv(labels, rows, out),
        Format::JsonLines => write_json_lines(rows, out),
    }
}

fn write_json_lines(rows: &mut Rows<'_>, out: &mut dyn Write) -> io::Result<()> {
    for row in rows {
        let Row { path, safety, error } = row?;
        let line = Line { path: &path, safety: safety.as_ref(), error: error.as_deref(), heatmap: None };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn write_csv(labels: &[String], rows: &mut Rows<'_>, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<String> = columns(labels).iter().map(|column| csv_text(&column.name)).collect();
    out.write_all((names.join(",") + "\n").as_bytes())?;
    for row in rows {
        let mut row = row?;
        if is_formula(&row.path) {
            // The same file by another name.
            row.path.insert_str(0, "./");
        }
        let cells = cells(&row, labels);
        let fields = cells.iter().map(|cell| match cell {
            Cell::Missing => String::new(),
            Cell::Text(text) => csv_text(text),
            Cell::Whole(number) => number.to_string(),
            Cell::Flag(flag) => flag.to_string(),
            Cell::Number(number) => number.to_string(),
        });
        out.write_all((fields.collect::<Vec<_>>().join(",") + "\n").as_bytes())?;
    }
    Ok(())
}

/// Text as a field of CSV, in quotes where RFC 4180 wants them.
fn csv_text(text: &str) -> String {
    let text = no_formula(text);
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Whether a spreadsheet would compute a cell instead of showing it.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}

/// Text that stays text in a spreadsheet (OWASP, "CSV Injection").
fn no_formula(text: &str) -> String {
    if is_formula(text) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::verdicts::tests::weapon;

    /// A harmful, a harmless and an unreadable file.
    pub(crate) fn rows() -> Vec<Row> {
        let row = |path: &str, safety, error: Option<&str>| Row {
            path: path.to_owned(),
            safety,
            error: error.map(ToOwned::to_owned),
        };
        vec![
            row("a, b.png", Some(weapon(0.75)), None),
            row("=1+1.png", Some(weapon(0.25)), None),
            row("c.png", None, Some("it is \"empty\"")),
        ]
    }

    pub(crate) fn labels() -> Vec<String> {
        weapon(0.5).probabilities.keys().cloned().collect()
    }

    pub(crate) fn written(format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        write(format, &labels(), &mut rows().into_iter().map(Ok), &mut out).unwrap();
        out
    }

    #[test]
    fn json_lines_are_those_of_guard_with_an_error() {
        let text = String::from_utf8(written(Format::JsonLines)).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[1]["path"], "=1+1.png");
        assert_eq!(lines[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["path", "safety"]);
        assert_eq!(serde_json::from_value::<Verdict>(lines[0]["safety"].clone()).unwrap(), weapon(0.75));
        let failed = serde_json::json!({"path": "c.png", "safety": null, "error": "it is \"empty\""});
        assert_eq!(lines[2], failed);
    }

    #[test]
    fn csv_is_quoted_and_no_spreadsheet_computes_it() {
        let text = String::from_utf8(written(Format::Csv)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split(',').count(), 28);
        assert!(lines[0].starts_with("path,label,label_id,category,flagged,unsafe_probability,threshold,safe,gender,"));
        assert!(lines[0].ends_with(",medical_advice,error"));
        let zeros = "0,".repeat(15);
        let row = format!("\"a, b.png\",weapon_related_violence,16,violence,true,0.75,0.5,0.25,{zeros}0.75,0,0,0,");
        assert_eq!(lines[1], row);
        assert_eq!(lines[2], format!("./=1+1.png,safe,0,,false,0.25,0.5,0.75,{zeros}0.25,0,0,0,"));
        assert_eq!(lines[3], format!("c.png{}\"it is \"\"empty\"\"\"", ",".repeat(27)));
        assert_eq!((lines.len(), csv_text("a\nb")), (4, "\"a\nb\"".to_owned()));
    }

    #[test]
    fn labels_that_are_called_like_a_column_get_another_name() {
        let labels = ["safe", "path", "error", "=x"].map(ToOwned::to_owned);
        let names: Vec<String> = columns(&labels).into_iter().skip(7).map(|column| column.name).collect();
        assert_eq!(names, ["safe", "path_", "error_", "=x", "error"]);
        assert_eq!(no_formula("=x"), "'=x");
    }

    #[test]
    fn the_ending_decides() {
        let of = |name: &str| Format::of(Path::new(name)).ok();
        assert_eq!(of("a.CSV"), Some(Format::Csv));
        assert_eq!(of("a.parquet"), Some(Format::Parquet));
        assert_eq!(of("a.b/c.jsonl"), Some(Format::JsonLines));
        assert_eq!([of("a.json"), of("csv"), of("")], [None; 3]);
    }
}
