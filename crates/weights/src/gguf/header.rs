//! The header of a GGUF file, believed only after every count, length, dimension and offset in it
//! was checked against the file's size.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use std::collections::BTreeMap;

use super::types::GgmlType;
use super::value::{HeaderReader, MAX_NAME_BYTES, Value};
use crate::error::WeightsError;
use crate::positioned::PositionedFile;

/// The most dimensions that the reference implementation knows.
const MAX_DIMENSIONS: u32 = 4;
/// Alignment of the data where the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Far above any alignment in use.
const MAX_ALIGNMENT: i128 = 1 << 20;

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Extents, outermost first (the file has them innermost first).
    pub(super) shape: Vec<usize>,
    pub(super) kind: GgmlType,
    /// Absolute position in the file.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) length: usize,
}

/// A checked header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, Entry>,
}

/// Reads and checks the header of `file`.
pub(super) fn read(file: &PositionedFile) -> Result<Header, WeightsError> {
    let mut reader = HeaderReader::new(file);
    if reader.bytes()? != *b"GGUF" {
        return Err(reader.malformed("it does not begin with `GGUF`"));
    }
    match reader.u32()? {
        2 | 3 => {}
        1 => return Err(reader.malformed("version 1 is obsolete; convert it to version 3")),
        version if version.swap_bytes() <= 3 => {
            return Err(reader.malformed("it is big-endian; use the little-endian file"));
        }
        version => return Err(reader.malformed(format!("its version {version} is unknown"))),
    }
    let tensor_count = reader.u64()?;
    let value_count = reader.u64()?;
    // The smallest tensor description has a name's length, one dimension, type and offset; the
    // smallest value a key's length, a type and a byte.
    reader.room(tensor_count, 8 + 4 + 8 + 4 + 8, "tensors")?;
    reader.room(value_count, 8 + 4 + 1, "metadata values")?;

    let mut metadata = BTreeMap::new();
    for _ in 0..value_count {
        let key = reader.string(MAX_NAME_BYTES)?;
        let value = reader.value()?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(reader.malformed(format!("the key `{key}` occurs twice")));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(Value::Integer(n)) if (1..=MAX_ALIGNMENT).contains(n) && n.count_ones() == 1 => *n as u64,
        Some(other) => return Err(reader.malformed(format!("its alignment is {other:?}"))),
    };
    let tensors = (0..tensor_count).map(|_| description(&mut reader, alignment)).collect::<Result<Vec<_>, _>>()?;
    let data_start = reader.position().next_multiple_of(alignment);
    let tensors = place(&reader, file.length, data_start, tensors)?;
    Ok(Header { metadata, tensors })
}

/// Reads one tensor's name, shape, type and offset relative to the data.
fn description(reader: &mut HeaderReader<'_>, alignment: u64) -> Result<(String, Entry), WeightsError> {
    let name = reader.string(MAX_NAME_BYTES)?;
    let bad = |reader: &HeaderReader<'_>, reason: String| reader.malformed(format!("tensor `{name}` {reason}"));
    let dimensions = reader.u32()?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(bad(reader, format!("has {dimensions} dimensions")));
    }
    let mut shape = Vec::new();
    let mut values = 1usize;
    for _ in 0..dimensions {
        let extent = reader.u64()?;
        let product = usize::try_from(extent).ok().and_then(|extent| values.checked_mul(extent).zip(Some(extent)));
        let Some((product, extent)) = product else {
            return Err(bad(reader, "is larger than any memory".to_string()));
        };
        values = product;
        shape.push(extent);
    }
    let id = reader.u32()?;
    let Some(kind) = GgmlType::from_id(id) else {
        let reason = format!("has the type number {id}, and only {:?} are supported", GgmlType::ALL);
        return Err(bad(reader, reason));
    };
    let (block_values, block_bytes) = kind.block();
    if shape[0] % block_values != 0 {
        let reason = format!("has rows of {}, not whole {kind:?} blocks", shape[0]);
        return Err(bad(reader, reason));
    }
    let Some(length) = (values / block_values).checked_mul(block_bytes) else {
        return Err(bad(reader, "is larger than any memory".to_string()));
    };
    let offset = reader.u64()?;
    if offset % alignment != 0 {
        let reason = format!("lies at {offset}, which is not a multiple of {alignment}");
        return Err(bad(reader, reason));
    }
    shape.reverse();
    let entry = Entry { shape, kind, offset, length };
    Ok((name, entry))
}

/// Makes offsets absolute; refuses tensors outside the file, on top of each other, or of one name.
fn place(
    reader: &HeaderReader<'_>,
    file_length: u64,
    data_start: u64,
    mut list: Vec<(String, Entry)>,
) -> Result<BTreeMap<String, Entry>, WeightsError> {
    list.sort_by_key(|(_, entry)| (entry.offset, entry.length));
    let mut tensors = BTreeMap::new();
    let mut previous_end = data_start;
    for (name, mut entry) in list {
        let bad = |reason: String| reader.malformed(format!("tensor `{name}` {reason}"));
        let span = data_start
            .checked_add(entry.offset)
            .and_then(|start| Some((start, start.checked_add(entry.length as u64)?)))
            .filter(|(_, end)| *end <= file_length);
        let Some((start, end)) = span else {
            return Err(bad(format!(
                "should have {} bytes at {}, the file has {file_length} (a file cut short?)",
                entry.length,
                entry.offset.saturating_add(data_start)
            )));
        };
        if start < previous_end {
            return Err(bad("overlaps another one".to_string()));
        }
        previous_end = end;
        entry.offset = start;
        if tensors.insert(name.clone(), entry).is_some() {
            return Err(bad("occurs twice".to_string()));
        }
    }
    Ok(tensors)
}
