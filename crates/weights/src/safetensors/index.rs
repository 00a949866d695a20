//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::error::WeightsError;

/// The index of the largest published checkpoints has a few hundred kilobytes.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Tensor to shard.
pub(super) type WeightMap = BTreeMap<String, String>;

/// The file's content; its `metadata` is not needed.
#[derive(Deserialize)]
struct Index {
    #[serde(deserialize_with = "unrepeated")]
    weight_map: WeightMap,
}

/// Reads the index `path`: at least one tensor, none named twice, every shard a plain file name.
pub(super) fn read(path: &Path) -> Result<WeightMap, WeightsError> {
    let length = fs::metadata(path).map_err(WeightsError::io("read", path))?;
    if length.len() > MAX_INDEX_BYTES {
        return Err(malformed(path, format!("it has more than {MAX_INDEX_BYTES} bytes")));
    }
    let text = fs::read(path).map_err(WeightsError::io("read", path))?;
    let Index { weight_map } = serde_json::from_slice(&text).map_err(|error| malformed(path, error.to_string()))?;
    if weight_map.is_empty() {
        return Err(malformed(path, "its `weight_map` is empty".to_string()));
    }
    // A plain name only: an index must not reach outside its folder.
    let outside = weight_map.values().find(|shard| {
        Path::new(shard.as_str()).file_name() != Some(shard.as_ref()) || shard.contains(['/', '\\', '\0'])
    });
    match outside {
        Some(shard) => Err(malformed(path, format!("it names the shard {shard:?}, which is not a file name"))),
        None => Ok(weight_map),
    }
}

pub(super) fn malformed(path: &Path, reason: String) -> WeightsError {
    WeightsError::malformed(path, "safetensors index", reason)
}

/// The map, with repeated names refused: readers disagree about which one counts.
fn unrepeated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WeightMap, D::Error> {
    struct MapVisitor;
    impl<'de> Visitor<'de> for MapVisitor {
        type Value = WeightMap;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of tensor names and file names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
            let mut weights = WeightMap::new();
            while let Some((name, shard)) = map.next_entry::<String, String>()? {
                match weights.entry(name) {
                    Entry::Vacant(slot) => slot.insert(shard),
                    Entry::Occupied(slot) => {
                        return Err(A::Error::custom(format!("`{}` occurs twice", slot.key())));
                    }
                };
            }
            Ok(weights)
        }
    }
    deserializer.deserialize_map(MapVisitor)
}
