//! Recipes that name only what differs from another.

use std::path::Path;

use toml::{Table, Value};

use crate::error::TrainError;

/// The key that names the other recipe.
const EXTENDS: &str = "extends";
/// Recipes that extend one another.
const MOST: usize = 8;

/// The recipe in the file `path`, laid over the one that it `extends`, whose path is relative to its folder.
pub(super) fn read(path: &Path) -> Result<Table, TrainError> {
    let mut path = path.to_owned();
    let mut top = Table::new();
    for _ in 0..MOST {
        let text =
            std::fs::read_to_string(&path).map_err(|source| TrainError::ReadRecipe { path: path.clone(), source })?;
        let bad = |reason: &str| TrainError::Recipe { path: path.clone(), reason: reason.to_owned() };
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| bad(e.message()))?;
        let below = table.remove(EXTENDS);
        lay(&mut table, top);
        top = table;
        path = match below {
            None => return Ok(top),
            Some(Value::String(below)) => path.parent().unwrap_or(Path::new("")).join(below),
            Some(_) => return Err(bad("extends is the path of a recipe")),
        };
    }
    let reason = format!("at most {MOST} recipes extend one another");
    Err(TrainError::Recipe { path, reason })
}

/// Puts `over` into `under`: tables key by key, lists and values in place of what was there.
fn lay(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => lay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}
