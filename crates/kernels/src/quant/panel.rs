//! Weights laid out for many rows of activations: unpacked once, sixteen outputs side by side.

use super::group::{Blocks, GROUP, Q4_0, Q4_1, Q4K, Q6K, Q8_0, half_at};

/// Outputs of a panel: two vectors of eight.
pub(super) const OUTPUTS: usize = 16;
/// Groups of a panel at most, so that it stays in the nearest caches.
pub(super) const GROUPS: usize = 32;

/// Some groups of sixteen rows of weights.
pub(super) struct Panel {
    /// Four values of four bits as bytes, or two of 16 bits: for each such step along the row, the sixteen outputs'.
    pub(super) words: Vec<[u32; OUTPUTS]>,
    /// What each group's whole numbers are multiplied with.
    pub(super) scales: Vec<[f32; OUTPUTS]>,
    /// What is added to each value of the group.
    pub(super) offsets: Vec<[f32; OUTPUTS]>,
}

impl Panel {
    pub(super) fn new<B: Pack>() -> Self {
        Self {
            words: vec![[0; OUTPUTS]; GROUPS * B::STEPS],
            scales: vec![[0.; OUTPUTS]; GROUPS],
            offsets: vec![[0.; OUTPUTS]; GROUPS],
        }
    }

    /// Unpacks `groups` groups of each row, from `first` on; outputs without a row become zeros.
    pub(super) fn fill<'a, B: Pack>(&mut self, mut rows: impl Iterator<Item = &'a [u8]>, first: usize, groups: usize) {
        for output in 0..OUTPUTS {
            let row = rows.next();
            for at in 0..groups {
                let (words, scale, offset) = row.map_or(([0; GROUP / 2], 0., 0.), |row| {
                    let (block, at) = ((first + at) / (B::LENGTH / GROUP), (first + at) % (B::LENGTH / GROUP));
                    B::pack(&row[block * B::BYTES..][..B::BYTES], at)
                });
                let places = self.words[at * B::STEPS..][..B::STEPS].iter_mut();
                places.zip(words).for_each(|(place, word)| place[output] = word);
                self.scales[at][output] = scale;
                self.offsets[at][output] = offset;
            }
        }
    }
}

/// A format in panels.
pub(super) trait Pack: Blocks {
    /// Words of a group: 8 of four bytes, or 16 of two 16-bit numbers.
    const STEPS: usize;
    /// Whether groups have offsets in panels.
    const SHIFTED: bool;

    /// The words (the first `STEPS` count), scale and offset of group `at` of a block.
    fn pack(block: &[u8], at: usize) -> ([u32; GROUP / 2], f32, f32);
}

/// Words of the lower or the upper nibbles of bytes.
#[inline(always)]
fn nibbles(words: &mut [u32], bytes: &[u8], shift: u32) {
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes) >> shift & 0x0f0f_0f0f;
    }
}

/// Words of two whole numbers each.
#[inline(always)]
fn pairs(quants: [i16; GROUP]) -> [u32; GROUP / 2] {
    std::array::from_fn(|i| u32::from(quants[2 * i] as u16) | u32::from(quants[2 * i + 1] as u16) << 16)
}

/// The words of Q4_0's and Q4_1's 16 bytes.
#[inline(always)]
fn halves(bytes: &[u8]) -> [u32; GROUP / 2] {
    let mut words = [0; GROUP / 2];
    nibbles(&mut words[..4], bytes, 0);
    nibbles(&mut words[4..8], bytes, 4);
    words
}

impl Pack for Q4_0 {
    const STEPS: usize = 8;
    const SHIFTED: bool = true;

    #[inline(always)]
    fn pack(block: &[u8], _: usize) -> ([u32; GROUP / 2], f32, f32) {
        let d = half_at(block, 0);
        (halves(&block[2..18]), d, -8. * d)
    }
}

impl Pack for Q4_1 {
    const STEPS: usize = 8;
    const SHIFTED: bool = true;

    #[inline(always)]
    fn pack(block: &[u8], _: usize) -> ([u32; GROUP / 2], f32, f32) {
        (halves(&block[4..20]), half_at(block, 0), half_at(block, 2))
    }
}

impl Pack for Q4K {
    const STEPS: usize = 8;
    const SHIFTED: bool = true;

    #[inline(always)]
    fn pack(block: &[u8], at: usize) -> ([u32; GROUP / 2], f32, f32) {
        let (scale, offset) = Self::factors(block, at);
        let mut words = [0; GROUP / 2];
        nibbles(&mut words[..8], &block[16 + at / 2 * GROUP..][..GROUP], 4 * (at as u32 % 2));
        (words, scale, offset)
    }
}

impl Pack for Q8_0 {
    const STEPS: usize = 16;
    const SHIFTED: bool = false;

    #[inline(always)]
    fn pack(block: &[u8], at: usize) -> ([u32; GROUP / 2], f32, f32) {
        let group = Self::group(block, at);
        (pairs(group.quants.map(i16::from)), group.scales[0], 0.)
    }
}

impl Pack for Q6K {
    const STEPS: usize = 16;
    const SHIFTED: bool = false;

    /// The 8-bit scales are multiplied in: at most 32 · 128.
    #[inline(always)]
    fn pack(block: &[u8], at: usize) -> ([u32; GROUP / 2], f32, f32) {
        let quants = Self::group(block, at).quants;
        let scale = |i: usize| i16::from(block[192 + 2 * at + i / 16] as i8);
        (pairs(std::array::from_fn(|i| i16::from(quants[i]) * scale(i))), half_at(block, 208), 0.)
    }
}
