//! Threads, and outputs that they write side by side.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `work(0)` to `work(parts - 1)` on rayon's threads; each takes the next part when it is done with one.
///
/// The calling thread begins at once, and does all if no other is awake in time.
pub(super) fn for_each_part(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    fn join(workers: usize, run: &(dyn Fn() + Sync)) {
        match workers {
            0 | 1 => run(),
            _ => {
                rayon::join(|| join(workers.div_ceil(2), run), || join(workers / 2, run));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let run = || {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                break;
            }
            work(part);
        }
    };
    join(rayon::current_num_threads().min(parts), &run);
}

/// A matrix `[rows, columns]` of f32 whose columns are written by several threads.
#[derive(Clone, Copy)]
pub(super) struct Output {
    values: *mut f32,
    rows: usize,
    columns: usize,
}

// SAFETY: it is a slice of f32, and the contract of `write` keeps threads apart.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    pub(super) fn new(values: &mut [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self { values: values.as_mut_ptr(), rows, columns }
    }

    /// Values of a row.
    pub(super) fn columns(self) -> usize {
        self.columns
    }

    /// The place of a value.
    pub(super) fn at(self, row: usize, column: usize) -> *mut f32 {
        assert!(row < self.rows && column < self.columns);
        // SAFETY: the place is inside the slice, which has whole rows.
        unsafe { self.values.add(row * self.columns + column) }
    }

    /// Writes one value.
    ///
    /// # Safety
    /// The slice that this was made of is still borrowed, and no other thread writes to this column.
    #[inline(always)]
    pub(super) unsafe fn write(self, row: usize, column: usize, value: f32) {
        // SAFETY: as the caller promises.
        unsafe { *self.at(row, column) = value };
    }

    /// Some columns of a row.
    ///
    /// # Safety
    /// As [`write`](Self::write), for all these columns, for as long as the slice is used.
    #[inline(always)]
    pub(super) unsafe fn part<'a>(self, row: usize, columns: Range<usize>) -> &'a mut [f32] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.columns);
        // SAFETY: the places are inside the slice, which has whole rows; the rest is the caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(row * self.columns + columns.start), columns.len()) }
    }
}
