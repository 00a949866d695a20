//! Published sizes, whose checkpoints are far too large to have them at hand.

use std::collections::BTreeMap;
use std::path::Path;

use safevlm_weights::{StoredDtype, TakePiece, TensorInfo, TensorSource, WeightsError};
use serde_json::Value;

/// What is known of a published checkpoint without having it.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Its name, such as `safe-llava-7b`.
    pub name: &'static str,
    /// Its `config.json`.
    pub config: &'static str,
    /// Names and shapes of its tensors, as [`TensorIndex::parse`] reads them; generated from the reference
    /// classes.
    pub tensors: &'static str,
}

/// The [`Published`] sizes of these names, whose files are `presets/NAME.json` and `presets/NAME.tensors` beside the
/// `src` of the crate that calls it.
#[macro_export]
macro_rules! published {
    ($($name:literal),* $(,)?) => {
        &[$($crate::Published {
            name: $name,
            config: include_str!(concat!("../presets/", $name, ".json")),
            tensors: include_str!(concat!("../presets/", $name, ".tensors")),
        }),*]
    };
}

impl Published {
    /// The parsed `config.json`; null if it is none, which no published size is.
    pub fn config(&self) -> Value {
        serde_json::from_str(self.config).unwrap_or_default()
    }

    /// Its tensors.
    ///
    /// # Errors
    ///
    /// As [`TensorIndex::parse`]; never for a published size.
    pub fn index(&self) -> Result<TensorIndex, WeightsError> {
        TensorIndex::parse(self.name, self.tensors)
    }
}

/// A checkpoint's tensors by name and shape, without values.
#[derive(Clone, Debug)]
pub struct TensorIndex {
    name: String,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl TensorIndex {
    /// Reads one tensor a line: its name and its extents, separated by spaces. `{0..31}` in a name stands for
    /// the numbers from 0 to 31, one tensor each; it may stand there once.
    ///
    /// # Errors
    ///
    /// If a line is none of that.
    pub fn parse(name: &str, lines: &str) -> Result<Self, WeightsError> {
        let mut shapes = BTreeMap::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let wrong = || WeightsError::Mismatch(format!("the tensor index of {name} has the line `{line}`"));
            let mut words = line.split_whitespace();
            let pattern = words.next().ok_or_else(wrong)?;
            let shape = words.map(str::parse).collect::<Result<Vec<usize>, _>>().map_err(|_| wrong())?;
            for tensor in numbered(pattern).ok_or_else(wrong)? {
                shapes.insert(tensor, shape.clone());
            }
        }
        Ok(Self { name: name.to_owned(), shapes })
    }
}

/// The names that `pattern` stands for.
fn numbered(pattern: &str) -> Option<Vec<String>> {
    let Some((before, rest)) = pattern.split_once('{') else { return Some(vec![pattern.to_owned()]) };
    let (range, after) = rest.split_once('}')?;
    let (first, last) = range.split_once("..")?;
    let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
    Some((first..=last).map(|number| format!("{before}{number}{after}")).collect())
}

impl TensorSource for TensorIndex {
    fn path(&self) -> &Path {
        Path::new(&self.name)
    }

    fn names(&self) -> Vec<String> {
        self.shapes.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.shapes.get(name).map(|shape| TensorInfo { shape: shape.clone(), dtype: StoredDtype::BF16 })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        Err(WeightsError::Mismatch(format!("{} is an index without values: `{name}` cannot be read", self.name)))
    }

    fn read_pieces(&self, name: &str, _: &mut TakePiece<'_>) -> Result<(), WeightsError> {
        self.read_f32(name).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_layers() {
        let index = TensorIndex::parse("x", "norm.weight 8\nlayers.{9..10}.up 4 8\n\n").unwrap();
        assert_eq!(index.names(), ["layers.10.up", "layers.9.up", "norm.weight"]);
        assert_eq!(index.info("layers.9.up").unwrap().shape, [4, 8]);
        assert!(index.read_f32("norm.weight").is_err());
        for wrong in ["a 8 x", "layers.{0-3} 8", "layers.{0..x} 8"] {
            assert!(TensorIndex::parse("x", wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
