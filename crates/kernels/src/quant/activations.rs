//! Activations in eight bits: what the whole numbers of the weights are multiplied with.

use super::group::GROUP;
use crate::level::Level;
use crate::team;

/// Values that one thread quantizes at a time, at least: some microseconds' work.
const PART: usize = 1 << 14;

/// Rows of activations as signed bytes, -127 to 127, with a scale for each 32 of them, as ggml's Q8_1.
pub(super) struct Activations {
    rows: usize,
    columns: usize,
    quants: Vec<i8>,
    wide: Vec<i16>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    shares: Vec<f32>,
}

/// One row of [`Activations`].
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// The whole numbers.
    pub(super) quants: &'a [i8],
    /// What each group's whole numbers are multiplied with.
    pub(super) scales: &'a [f32],
    /// The sum of each group's whole numbers.
    pub(super) sums: &'a [i32],
    /// The scale times the sum: what a group's offset is multiplied with.
    pub(super) shares: &'a [f32],
}

impl Row<'_> {
    /// The last group.
    pub(super) fn last(&self) -> Self {
        let last = self.scales.len() - 1;
        Row {
            quants: &self.quants[last * GROUP..],
            scales: &self.scales[last..],
            sums: &self.sums[last..],
            shares: &self.shares[last..],
        }
    }
}

impl Activations {
    /// Quantizes whole rows; `columns` is a multiple of 32. With `wide`, the bytes are there as 16-bit numbers too.
    ///
    /// A group that has a value that is NaN or infinite gets the scale NaN, so that all it is multiplied with is NaN.
    pub(super) fn new(level: Level, values: &[f32], columns: usize, wide: bool) -> Self {
        debug_assert!(columns.is_multiple_of(GROUP) && values.len().is_multiple_of(columns));
        let groups = values.len() / GROUP;
        let mut quants = vec![0; values.len()];
        let (mut scales, mut sums, mut shares) = (vec![0.; groups], vec![0; groups], vec![0.; groups]);
        let mut wide = vec![0; if wide { values.len() } else { 0 }];
        if values.len() < 2 * PART {
            quantize_groups(level, values, &mut quants, &mut scales, &mut sums, &mut shares);
            widen(level, &quants, &mut wide);
        } else {
            let parts = values.chunks(PART).zip(quants.chunks_mut(PART));
            let scales = scales.chunks_mut(PART / GROUP).zip(sums.chunks_mut(PART / GROUP));
            let scales = scales.zip(shares.chunks_mut(PART / GROUP));
            team::for_each(parts.zip(scales), |_, ((values, quants), ((scales, sums), shares))| {
                quantize_groups(level, values, quants, scales, sums, shares);
            });
            let parts = quants.chunks(PART).zip(wide.chunks_mut(PART));
            team::for_each(parts, |_, (quants, wide)| widen(level, quants, wide));
        }
        Self { rows: values.len() / columns, columns, quants, wide, scales, sums, shares }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn row(&self, at: usize) -> Row<'_> {
        let groups = self.columns / GROUP;
        let groups = at * groups..(at + 1) * groups;
        Row {
            quants: &self.quants[at * self.columns..][..self.columns],
            scales: &self.scales[groups.clone()],
            sums: &self.sums[groups.clone()],
            shares: &self.shares[groups],
        }
    }

    /// The whole numbers of a row in 16 bits; nothing if they are not there.
    pub(super) fn wide_row(&self, at: usize) -> &[i16] {
        self.wide.get(at * self.columns..(at + 1) * self.columns).unwrap_or_default()
    }
}

vectorised! {
    fn quantize_groups<M>(
        values: &[f32], quants: &mut [i8], scales: &mut [f32], sums: &mut [i32], shares: &mut [f32],
    ) {
        let outputs = quants.as_chunks_mut::<GROUP>().0.iter_mut().zip(scales.iter_mut().zip(sums).zip(shares));
        for (values, (quants, ((scale, sum), share))) in values.as_chunks::<GROUP>().0.iter().zip(outputs) {
            (*scale, *sum) = quantize_group(values, quants);
            *share = *scale * *sum as f32;
        }
    }
}

vectorised! {
    fn widen<M>(quants: &[i8], wide: &mut [i16]) {
        wide.iter_mut().zip(quants).for_each(|(wide, quant)| *wide = i16::from(*quant));
    }
}

/// Writes the whole numbers of a group, and gives their scale and sum.
#[inline(always)]
fn quantize_group(values: &[f32; GROUP], quants: &mut [i8; GROUP]) -> (f32, i32) {
    // As whole numbers the bits of positive floats are in the floats' order, with infinity and NaN behind them.
    let largest = values.iter().fold(0, |largest, value| (value.to_bits() & 0x7fff_ffff).max(largest));
    let largest = f32::from_bits(largest);
    let by = 127. / largest;
    if !by.is_finite() || !largest.is_finite() {
        *quants = [0; GROUP];
        // So small that the inverse is infinite: nothing.
        return (if largest.is_finite() { 0. } else { f32::NAN }, 0);
    }
    let mut sum = 0;
    for (quant, value) in quants.iter_mut().zip(values) {
        let whole = nearest(value * by);
        sum += whole;
        *quant = whole as i8;
    }
    (largest / 127., sum)
}

/// The whole number nearest to `value`, the even one of two; `value` is within ±2²².
///
/// The sum has no bits left for fractions.
#[inline(always)]
fn nearest(value: f32) -> i32 {
    const SHIFT: f32 = (3 << 22) as f32;
    (value + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}
