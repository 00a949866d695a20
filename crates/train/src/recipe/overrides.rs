//! `key=value` on the command line.

use toml::{Table, Value};

use crate::error::TrainError;

/// Sets one `a.b=value` in `table`; the value is TOML, or else a string. Parts of the key may be places in a list, as in
/// `data.0.path`. What the recipe does not have is added at its top and inside lists, where a misspelt key is refused later.
pub(super) fn set(table: &mut Table, given: &str) -> Result<(), TrainError> {
    let unfit = || TrainError::Override { given: given.to_owned() };
    let (key, value) = given.split_once('=').ok_or_else(unfit)?;
    let value = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let (path, last) = key.trim().rsplit_once('.').map_or((None, key.trim()), |(p, l)| (Some(p), l));
    let (mut inner, mut may_add) = (&mut *table, true);
    let mut parts = path.into_iter().flat_map(|p| p.split('.'));
    while let Some(part) = parts.next() {
        inner = match inner.get_mut(part).ok_or_else(unfit)? {
            Value::Table(table) => {
                may_add = false;
                table
            }
            Value::Array(list) => {
                may_add = true;
                let place = parts.next().and_then(|place| place.parse::<usize>().ok());
                place.and_then(|place| list.get_mut(place)).and_then(Value::as_table_mut).ok_or_else(unfit)?
            }
            _ => return Err(unfit()),
        };
    }
    match inner.get_mut(last) {
        Some(old) => *old = value,
        None if may_add && KEYS.contains(&last) => drop(inner.insert(last.to_owned(), value)),
        None => return Err(unfit()),
    }
    Ok(())
}

/// Keys that a recipe, a source or a phase need not have.
const KEYS: [&str; 23] = [
    "data",
    "augment",
    "guard",
    "validation",
    "card",
    "gradient_checkpointing",
    "max_tokens",
    "vision_from",
    "weight",
    "lora",
    "precision",
    "save_as",
    "split",
    "path",
    "images",
    "without",
    "steps",
    "epochs",
    "micro_batch",
    "scenes",
    "rate",
    "sets",
    "first_token",
];
