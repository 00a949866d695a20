//! How much text one rendering may build.

use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// What any rendering may build, in bytes.
const BASE: u64 = 32 << 20;
/// How often over a template may copy its conversation.
const PER_INPUT_BYTE: u64 = 64;
/// Levels of lists in lists.
const DEPTH_LIMIT: usize = 64;
/// What a value that is no text counts.
const ELEMENT: u64 = 16;

/// Bytes that a rendering has left.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
}

impl Budget {
    /// The budget for a template that is given `input`.
    pub(super) fn for_input(input: &Value) -> Result<Self, Error> {
        let mut most = u64::MAX;
        measure(input, 0, &mut most)?;
        let size = u64::MAX - most;
        Ok(Self { left: AtomicU64::new(BASE.saturating_add(size.saturating_mul(PER_INPUT_BYTE))) })
    }

    /// Takes the printed size of `value` off, and no longer measures than there is budget.
    pub(super) fn charge(&self, value: &Value) -> Result<(), Error> {
        let mut left = self.left.load(Ordering::Relaxed);
        let result = measure(value, 0, &mut left);
        self.left.store(left, Ordering::Relaxed);
        result
    }

    /// Takes `bytes` off.
    pub(super) fn charge_bytes(&self, bytes: usize) -> Result<(), Error> {
        let mut left = self.left.load(Ordering::Relaxed);
        let result = spend(&mut left, bytes as u64);
        self.left.store(left, Ordering::Relaxed);
        result
    }
}

fn spend(left: &mut u64, bytes: u64) -> Result<(), Error> {
    *left = left.checked_sub(bytes).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, "the template builds far more text than the conversation has")
    })?;
    Ok(())
}

/// Takes the size of `value` with all that is in it, written out, off `left`. A list that is in another
/// twice counts twice: printing it would.
fn measure(value: &Value, depth: usize, left: &mut u64) -> Result<(), Error> {
    if depth > DEPTH_LIMIT {
        return Err(Error::new(ErrorKind::InvalidOperation, "the template nests lists too deeply"));
    }
    spend(left, ELEMENT)?;
    if let Some(text) = value.as_str() {
        return spend(left, text.len() as u64);
    }
    match value.kind() {
        ValueKind::Bytes => spend(left, value.as_bytes().map_or(0, <[u8]>::len) as u64),
        ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.try_for_each(|item| measure(&item, depth + 1, left)),
        ValueKind::Map => value.try_iter()?.try_for_each(|key| {
            measure(&key, depth + 1, left)?;
            measure(&value.get_item(&key)?, depth + 1, left)
        }),
        _ => Ok(()),
    }
}
