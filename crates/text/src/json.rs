//! `tojson` as transformers gives it to templates: Python's spelling, without HTML escapes.

use std::fmt::Write;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Levels of lists in lists.
const DEPTH_LIMIT: usize = 64;

struct Style {
    ensure_ascii: bool,
    indent: Option<usize>,
    sort_keys: bool,
    between: String,
    after_key: String,
}

/// `value` as Python's `json.dumps` writes it, with the options `ensure_ascii`, `indent`, `separators`
/// and `sort_keys`.
///
/// # Errors
///
/// If an option is unknown, the indentation above `indent_limit`, or the value none that JSON knows.
pub(crate) fn dumps(value: &Value, options: &Kwargs, indent_limit: usize) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let [between, after_key] = match separators.as_deref() {
        Some([between, after_key]) => [between.clone(), after_key.clone()],
        Some(_) => return Err(refuse("separators are two strings")),
        None => [if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()],
    };
    let flag = |name| options.get::<Option<bool>>(name).map(Option::unwrap_or_default);
    let style =
        Style { ensure_ascii: flag("ensure_ascii")?, indent, sort_keys: flag("sort_keys")?, between, after_key };
    options.assert_all_used()?;
    if indent.is_some_and(|width| width > indent_limit) || style.between.len() + style.after_key.len() > indent_limit {
        return Err(refuse("the template indents too far"));
    }
    let mut text = String::new();
    style.write(value, 0, &mut text)?;
    Ok(text)
}

fn refuse(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

impl Style {
    fn write(&self, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        if depth > DEPTH_LIMIT {
            return Err(refuse("the template nests lists too deeply"));
        }
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => text.push_str(&value.to_string()),
            ValueKind::Number => text.push_str(&format!("{:?}", f64::try_from(value.clone())?)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), text),
            ValueKind::Seq | ValueKind::Iterable => {
                self.list('[', ']', value.try_iter()?.collect(), depth, text, |item, text| {
                    self.write(item, depth + 1, text)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.list('{', '}', keys, depth, text, |key, text| {
                    self.string(&key.to_string(), text);
                    text.push_str(&self.after_key);
                    self.write(&value.get_item(key)?, depth + 1, text)
                })?;
            }
            _ => return Err(refuse("tojson was given what JSON does not know")),
        }
        Ok(())
    }

    fn list(
        &self,
        open: char,
        close: char,
        items: Vec<Value>,
        depth: usize,
        text: &mut String,
        mut write: impl FnMut(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let new_line = |depth: usize, text: &mut String| {
            if let Some(width) = self.indent {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', width * depth));
            }
        };
        text.push(open);
        for (nth, item) in items.iter().enumerate() {
            if nth > 0 {
                text.push_str(&self.between);
            }
            new_line(depth + 1, text);
            write(item, text)?;
        }
        if !items.is_empty() {
            new_line(depth, text);
        }
        text.push(close);
        Ok(())
    }

    fn string(&self, value: &str, text: &mut String) {
        text.push('"');
        for c in value.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
                c => text.push(c),
            }
        }
        text.push('"');
    }
}
