//! The header of a safetensors file, believed only after every number in it was checked against
//! the file's size.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::blocks;
use crate::error::WeightsError;
use crate::positioned::PositionedFile;
use crate::tensors::{StoredDtype, TensorInfo};

/// The format's own limit on the length of the header.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The key under which free text is kept.
pub(crate) const METADATA: &str = "__metadata__";
/// What the errors call the format.
const FORMAT: &str = "safetensors";

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) info: TensorInfo,
    /// Absolute position in the file.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) length: usize,
}

/// A checked header.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, Entry>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// One tensor's description, as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RawEntry {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) data_offsets: [u64; 2],
}

/// Reads and checks the header of `file`.
pub(super) fn read(file: &PositionedFile) -> Result<Header, WeightsError> {
    let bad = |reason: String| WeightsError::malformed(&file.path, FORMAT, reason);
    if file.length < 8 {
        return Err(bad(format!("it has only {} bytes", file.length)));
    }
    let mut prefix = [0; 8];
    file.read_exact_at(&mut prefix, 0)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER_BYTES {
        return Err(bad(format!(
            "it claims a header of {header_length} bytes, and the format allows {MAX_HEADER_BYTES}"
        )));
    }
    if header_length > file.length - 8 {
        return Err(bad(format!(
            "it is cut short: the header should have {header_length} bytes, the file has {}",
            file.length
        )));
    }
    let mut text = vec![0; header_length as usize];
    file.read_exact_at(&mut text, 8)?;
    let RawHeader { tensors, metadata } =
        serde_json::from_slice(&text).map_err(|error| bad(format!("its header is not valid: {error}")))?;
    drop(text);
    let data_start = 8 + header_length;
    let data_length = file.length - data_start;
    let mut header = Header { metadata, ..Header::default() };
    let mut spans = Vec::with_capacity(tensors.len());
    for (name, raw) in tensors {
        let entry = check(&raw, data_start, data_length).map_err(|reason| bad(format!("tensor `{name}` {reason}")))?;
        spans.push((raw.data_offsets, name.clone()));
        header.tensors.insert(name, entry);
    }
    // The format demands that the tensors cover the data without gap or overlap.
    spans.sort();
    let mut end = 0;
    for ([from, to], name) in spans {
        if from != end {
            let what = if from < end { "overlaps another one" } else { "leaves a gap" };
            return Err(bad(format!("tensor `{name}` {what} at byte {from}")));
        }
        end = to;
    }
    blocks::apply(&mut header).map_err(bad)?;
    if end != data_length {
        return Err(bad(format!("the tensors end at byte {end}, the data at {data_length}")));
    }
    Ok(header)
}

fn check(raw: &RawEntry, data_start: u64, data_length: u64) -> Result<Entry, String> {
    let dtype =
        dtype_from_name(&raw.dtype).ok_or_else(|| format!("has the type {}, which is not supported", raw.dtype))?;
    let [from, to] = raw.data_offsets;
    if from > to || to > data_length {
        return Err(format!("should lie at bytes {from} to {to}, the data has {data_length} (a file cut short?)"));
    }
    let (_, unit) = dtype.block();
    let bytes = raw.shape.iter().try_fold(unit as u64, |product, extent| product.checked_mul(*extent));
    if bytes != Some(to - from) {
        return Err(format!("has {} bytes, which is not the shape {:?} of {dtype}", to - from, raw.shape));
    }
    let shape = raw.shape.iter().map(|extent| usize::try_from(*extent));
    Ok(Entry {
        info: TensorInfo { shape: shape.collect::<Result<_, _>>().map_err(|e| e.to_string())?, dtype },
        offset: data_start + from,
        length: usize::try_from(to - from).map_err(|e| e.to_string())?,
    })
}

fn dtype_from_name(name: &str) -> Option<StoredDtype> {
    use StoredDtype::*;
    Some(match name {
        "F64" => F64,
        "F32" => F32,
        "F16" => F16,
        "BF16" => BF16,
        "I64" => I64,
        "I32" => I32,
        "I16" => I16,
        "I8" => I8,
        "U64" => U64,
        "U32" => U32,
        "U16" => U16,
        "U8" => U8,
        "BOOL" => Bool,
        _ => return None,
    })
}

/// The JSON object, with repeated names refused: readers disagree about which one counts.
struct RawHeader {
    tensors: Vec<(String, RawEntry)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new() };
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        let text = format!("`{name}` occurs twice");
                        return Err(serde::de::Error::custom(text));
                    }
                    if name == METADATA {
                        header.metadata = map.next_value()?;
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}
