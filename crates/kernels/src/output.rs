//! Outputs that several threads write side by side.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "parts that only the AVX2 paths use"))]

use std::ops::Range;

/// Ends of parts are multiples of this, so that threads seldom write to one cache line.
const MULTIPLE: usize = 16;

/// The outputs of several products with one input, one product after the other, cut into parts of one size.
pub(crate) struct Parts<'a> {
    /// Outputs of each product.
    outputs: &'a [usize],
    part: usize,
}

impl<'a> Parts<'a> {
    /// About `count` parts.
    pub(crate) fn new(outputs: &'a [usize], count: usize) -> Self {
        let part = outputs.iter().sum::<usize>().div_ceil(count.max(1)).next_multiple_of(MULTIPLE).max(MULTIPLE);
        Self { outputs, part }
    }

    pub(crate) fn count(&self) -> usize {
        self.outputs.iter().sum::<usize>().div_ceil(self.part)
    }

    /// Calls `run` with each product that has outputs in a part, and with these.
    pub(crate) fn each(&self, part: usize, mut run: impl FnMut(usize, Range<usize>)) {
        let mut start = part * self.part;
        let mut end = start + self.part;
        for (product, outputs) in self.outputs.iter().enumerate() {
            if start < *outputs.min(&end) {
                run(product, start..end.min(*outputs));
            }
            // Counted from the next product's first.
            (start, end) = (start.saturating_sub(*outputs), end.saturating_sub(*outputs));
        }
    }
}

/// A matrix `[rows, columns]` of f32 whose columns are written by several threads.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    values: *mut f32,
    rows: usize,
    columns: usize,
}

// SAFETY: it is a slice of f32, and the contract of `write` keeps threads apart.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    pub(crate) fn new(values: &mut [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self { values: values.as_mut_ptr(), rows, columns }
    }

    /// Values of a row.
    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    /// The place of a value.
    pub(crate) fn at(self, row: usize, column: usize) -> *mut f32 {
        assert!(row < self.rows && column < self.columns);
        // SAFETY: the place is inside the slice, which has whole rows.
        unsafe { self.values.add(row * self.columns + column) }
    }

    /// Writes one value.
    ///
    /// # Safety
    /// The slice that this was made of is still borrowed, and no other thread writes to this column.
    #[inline(always)]
    pub(crate) unsafe fn write(self, row: usize, column: usize, value: f32) {
        // SAFETY: as the caller promises.
        unsafe { *self.at(row, column) = value };
    }

    /// Some columns of a row.
    ///
    /// # Safety
    /// As [`write`](Self::write), for all these columns, for as long as the slice is used.
    #[inline(always)]
    pub(crate) unsafe fn part<'a>(self, row: usize, columns: Range<usize>) -> &'a mut [f32] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.columns);
        // SAFETY: the places are inside the slice, which has whole rows; the rest is the caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(row * self.columns + columns.start), columns.len()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_have_every_output_once(outputs in prop::collection::vec(0_usize..100, 0..5), count in 0_usize..20) {
            let parts = Parts::new(&outputs, count);
            prop_assert!(parts.count() <= count.max(1));
            let mut seen: Vec<Vec<usize>> = outputs.iter().map(|outputs| vec![0; *outputs]).collect();
            for part in 0..parts.count() {
                let mut some = false;
                parts.each(part, |product, outputs| {
                    some |= !outputs.is_empty();
                    seen[product][outputs].iter_mut().for_each(|seen| *seen += 1);
                });
                prop_assert!(some, "part {part} has nothing");
            }
            prop_assert!(seen.iter().flatten().all(|seen| *seen == 1));
        }
    }
}
