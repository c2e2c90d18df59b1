//! The innermost loops of trees: words of rows, added to the sums of the slots that they lie in.

use super::histogram::{BLOCK, MOST_SLOTS, Slot, TOGETHER};
use crate::backend::cpu::simd::{Kernel, Simd};

/// Rows whose slots and gradients are asked for ahead of their turn.
const AHEAD: usize = 16;
/// Rows of a fold from which on that pays: a block of fewer and their gradients take 64 KiB, which lie in the first-level
/// cache or next to it. On digits' 1,437 rows the loop was up to a fifth faster without.
pub(super) const FEWEST_ROWS_TO_PREFETCH: usize = 4096;

/// Adds the gradients of some rows to the sums of a block's first columns.
pub(super) struct AddColumns<'a> {
    pub(super) columns: usize,
    pub(super) codes: &'a [[u8; BLOCK]],
    pub(super) rows: &'a [u32],
    pub(super) gradients: &'a [u64],
    pub(super) slots: &'a mut [Slot; MOST_SLOTS],
}

impl Kernel for AddColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        match self.columns {
            0 => {}
            1 => self.add::<1>(),
            2 => self.add::<2>(),
            3 => self.add::<3>(),
            4 => self.add::<4>(),
            5 => self.add::<5>(),
            6 => self.add::<6>(),
            7 => self.add::<7>(),
            _ => self.add::<8>(),
        }
    }
}

impl AddColumns<'_> {
    #[inline(always)]
    fn add<const COLUMNS: usize>(self) {
        let AddColumns { codes, rows, gradients, slots, .. } = self;
        let sums: &mut [u64; MOST_SLOTS * BLOCK] = bytemuck::cast_mut(slots);
        if codes.len() < FEWEST_ROWS_TO_PREFETCH {
            rows.iter().for_each(|row| add_row::<COLUMNS>(codes, *row, gradients, sums));
            return;
        }
        for (place, &row) in rows.iter().enumerate() {
            if let Some(&row) = rows.get(place + AHEAD) {
                prefetch(codes, row as usize);
                prefetch(gradients, row as usize);
            }
            add_row::<COLUMNS>(codes, row, gradients, sums);
        }
    }
}

#[inline(always)]
fn add_row<const COLUMNS: usize>(
    codes: &[[u8; BLOCK]],
    row: u32,
    gradients: &[u64],
    sums: &mut [u64; MOST_SLOTS * BLOCK],
) {
    const { assert!(BLOCK == 8 && MOST_SLOTS == 256) };
    let (word, gradient) = (u64::from_le_bytes(codes[row as usize]), gradients[row as usize]);
    for lane in 0..COLUMNS {
        // By three less than the lane's place: what is left is its code times eight, which needs no shift of its own.
        let first = word.rotate_right((8 * lane as u32 + 61) % 64) as usize & ((MOST_SLOTS - 1) * BLOCK);
        let sum = &mut sums[first + lane];
        *sum = sum.wrapping_add(gradient);
    }
}

/// Adds the words of some rows to the sums of a block's first columns, a vector at a time.
pub(super) struct AddTogether<'a> {
    pub(super) width: usize,
    pub(super) codes: &'a [[u8; BLOCK]],
    pub(super) rows: &'a [u32],
    pub(super) words: &'a [Slot],
    pub(super) sums: &'a mut [[Slot; BLOCK]],
}

impl Kernel for AddTogether<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        const { assert!(TOGETHER == BLOCK) };
        for (place, &row) in self.rows.iter().enumerate() {
            if self.codes.len() >= FEWEST_ROWS_TO_PREFETCH
                && let Some(&row) = self.rows.get(place + AHEAD)
            {
                prefetch(self.codes, row as usize);
                prefetch(self.words, row as usize);
            }
            let (codes, words) = (&self.codes[row as usize], &self.words[row as usize]);
            for (lane, code) in codes.iter().enumerate().take(self.width) {
                let sums = &mut self.sums[usize::from(*code)][lane];
                for (sum, word) in sums.0.iter_mut().zip(words.0) {
                    *sum = sum.wrapping_add(word);
                }
            }
        }
    }
}

/// Asks for an element that will be read soon.
#[inline(always)]
fn prefetch<T>(from: &[T], place: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing, and SSE is part of the architecture.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().wrapping_add(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, place);
}
