//! Histograms of gradients over binned columns: what the splits of trees are decided from.
//!
//! Gradients and hessians are whole numbers ([`pack`]), so that sums have the same bits in any order and on any device,
//! and a child's histogram is exactly its parent's less its sibling's. Columns lie in blocks of eight: a row's bins of a
//! block are one 64-bit word, and a bin's sums of a block one cache line, so that scanning bins goes through eight columns
//! side by side in SIMD.

use super::accumulate::{AddColumns, AddTogether};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use std::ops::Range;

/// Columns of a block.
pub const BLOCK: usize = 8;
/// Bins of a column at most, that of missing values among them.
pub const MOST_SLOTS: usize = 256;
/// The slot of missing values; those of values follow.
pub const MISSING: u8 = 0;

/// A row's gradient and hessian in one word: a single addition sums both. The gradient has the high half; the hessian is
/// not negative, and both sums must stay below 2^31.
#[inline(always)]
pub fn pack(gradient: i32, hessian: u32) -> u64 {
    ((i64::from(gradient) << 32) + i64::from(hessian)) as u64
}

/// The sum of gradients in a sum of packed words.
#[inline(always)]
pub fn gradient(sums: u64) -> i32 {
    (sums as i64 >> 32) as i32
}

/// The sum of hessians in a sum of packed words.
#[inline(always)]
pub fn hessian(sums: u64) -> u32 {
    sums as u32
}

/// One slot's sums of a block's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Slot(pub [u64; BLOCK]);

impl Slot {
    /// No row.
    pub const EMPTY: Slot = Slot([0; BLOCK]);
}

/// Where a column lies among blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its block.
    pub block: usize,
    /// Its place in the block.
    pub lane: usize,
}

/// Eight columns, the last block of a kind maybe fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Each row's slots, 0 in the places of no column.
    pub codes: Vec<[u8; BLOCK]>,
    /// Where its slots begin in a histogram.
    pub first: usize,
    /// Slots of its widest column.
    pub slots: usize,
    /// Which column each place holds, as they are numbered outside; [`NO_COLUMN`] for none.
    pub columns: [u32; BLOCK],
}

impl Block {
    /// Places that hold a column: the first ones.
    fn width(&self) -> usize {
        self.columns.iter().take_while(|column| **column != NO_COLUMN).count()
    }
}

/// A place of a block that holds no column.
pub const NO_COLUMN: u32 = u32::MAX;

/// Slots of a column that has two values and no missing cell.
const FLAG_SLOTS: usize = 3;

/// Up to 64 columns of two values and no missing cell, eight a byte: summed as one block of eight columns, of whose sums
/// theirs are made. A table with categories one-hot has many.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flags {
    /// Each row's bytes: bit b of byte i is set where column `columns[8 i + b]` has its second value.
    codes: Vec<[u8; BLOCK]>,
    columns: Vec<u32>,
}

/// Rows in slots, by blocks of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    /// Columns with many slots first, so that those of a block are about equally wide; flags last, in blocks of their own.
    pub blocks: Vec<Block>,
    /// Blocks that are scanned side by side, which have equally many slots: each next two of them, or one.
    pub pairs: Vec<Range<usize>>,
    /// Of each column; `None` for those that were left out.
    pub places: Vec<Option<Place>>,
    /// Slots of all blocks.
    pub slots: usize,
    /// Blocks from which on all columns are flags.
    first_flags: usize,
    flags: Vec<Flags>,
    rows: usize,
}

impl Blocks {
    /// Lays columns out. `slots`: how many each has, with that of missing values; 0 leaves a column out. `code` gives the
    /// slot of a column's row.
    pub fn new(rows: usize, slots: &[usize], code: impl Fn(usize, usize) -> u8) -> Blocks {
        let is_flag = |column: usize| slots[column] == FLAG_SLOTS && (0..rows).all(|row| code(column, row) != MISSING);
        let all = (0..slots.len()).filter(|column| slots[*column] > 0);
        let (flags, mut others): (Vec<usize>, Vec<usize>) = all.partition(|column| is_flag(*column));
        others.sort_by_key(|column| (std::cmp::Reverse(slots[*column]), *column));
        let mut made = Blocks { places: vec![None; slots.len()], rows, ..Blocks::default() };
        for (kind, members) in [&others, &flags].into_iter().enumerate() {
            for members in members.chunks(BLOCK) {
                let block = made.push_block(&mut Vec::new());
                for (lane, &column) in members.iter().enumerate() {
                    let block = &mut made.blocks[block];
                    (block.columns[lane], block.slots) = (column as u32, block.slots.max(slots[column]));
                    block.codes.iter_mut().enumerate().for_each(|(row, codes)| codes[lane] = code(column, row));
                }
            }
            if kind == 0 {
                made.first_flags = made.blocks.len();
            }
        }
        for members in flags.chunks(BLOCK * 8) {
            let mut codes = vec![[0; BLOCK]; rows];
            for (place, &column) in members.iter().enumerate() {
                let bit = |row| u8::from(code(column, row) == 2) << (place % 8);
                codes.iter_mut().enumerate().for_each(|(row, codes)| codes[place / 8] |= bit(row));
            }
            made.flags.push(Flags { codes, columns: members.iter().map(|column| *column as u32).collect() });
        }
        made.finish();
        made
    }

    /// Some of another layout's columns and rows `0..rows`, in the same order; `self` keeps its memory. Flags stay with
    /// the other layout.
    pub fn select(&mut self, from: &Blocks, rows: usize, is_in: impl Fn(usize) -> bool) {
        self.places.clear();
        self.places.resize(from.places.len(), None);
        self.rows = rows;
        let (others, flags) = from.blocks.split_at(from.first_flags);
        let mut spare = std::mem::take(&mut self.blocks);
        for (kind, blocks) in [others, flags].into_iter().enumerate() {
            let all = blocks.iter().flat_map(|block| (0..block.width()).map(move |lane| (block, lane)));
            let mut chosen = all.filter(|(block, lane)| is_in(block.columns[*lane] as usize)).peekable();
            while chosen.peek().is_some() {
                let made = self.push_block(&mut spare);
                for (lane, (block, source)) in chosen.by_ref().take(BLOCK).enumerate() {
                    let to = &mut self.blocks[made];
                    (to.columns[lane], to.slots) = (block.columns[source], to.slots.max(block.slots));
                    to.codes.iter_mut().zip(&block.codes).for_each(|(to, from)| to[lane] = from[source]);
                }
            }
            if kind == 0 {
                self.first_flags = self.blocks.len();
            }
        }
        self.finish();
    }

    /// An empty block behind all others, in a spare one's memory if there is one; gives its index.
    fn push_block(&mut self, spare: &mut Vec<Block>) -> usize {
        let mut codes = spare.pop().map_or_else(Vec::new, |block| block.codes);
        codes.clear();
        codes.resize(self.rows, [MISSING; BLOCK]);
        self.blocks.push(Block { codes, first: 0, slots: 0, columns: [NO_COLUMN; BLOCK] });
        self.blocks.len() - 1
    }

    /// Places columns, and numbers slots; blocks are filled.
    fn finish(&mut self) {
        (self.slots, self.pairs) = (0, Vec::new());
        for kind in [0..self.first_flags, self.first_flags..self.blocks.len()] {
            for first in kind.clone().step_by(2) {
                let pair = first..kind.end.min(first + 2);
                let widest = self.blocks[pair.clone()].iter().map(|block| block.slots).max().unwrap_or(0);
                for (block, to) in self.blocks[pair.clone()].iter_mut().zip(pair.clone()) {
                    (block.first, block.slots) = (self.slots, widest);
                    self.slots += widest;
                    for lane in 0..block.width() {
                        self.places[block.columns[lane] as usize] = Some(Place { block: to, lane });
                    }
                }
                self.pairs.push(pair);
            }
        }
    }

    /// An empty histogram of these columns.
    pub fn histogram(&self) -> Histogram {
        // A block's slots are always seen as 256 of them, whatever follows; and flags are summed behind them all.
        Histogram { slots: vec![Slot::EMPTY; self.slots + MOST_SLOTS] }
    }

    /// Sums the packed gradients of some rows. `gradients` has one word a row; `from` is the layout that these columns
    /// were selected from, or this one.
    pub fn build(&self, from: &Blocks, level: Level, rows: &[u32], gradients: &[u64], into: &mut Histogram) {
        self.clear(level, into);
        let (others, flags) = self.blocks.split_at(self.first_flags);
        let by_bytes = !flags.is_empty() && rows.len() >= FEWEST_ROWS_OF_FLAGS;
        for block in others.iter().chain(flags.iter().filter(|_| !by_bytes)) {
            let Some(slots) = into.block_mut(block.first) else { continue };
            let (columns, codes) = (block.width(), &block.codes[..]);
            dispatch(level, AddColumns { columns, codes, rows, gradients, slots });
        }
        if by_bytes {
            self.add_flags(from, level, rows, gradients, into);
        }
    }

    /// The histograms of [`TOGETHER`] sets of gradients or fewer of the same rows, in one pass over the rows' slots:
    /// `gradients` has a word a row for each, `side_by_side` is memory.
    pub fn build_together(
        &self,
        level: Level,
        rows: &[u32],
        gradients: &[&[u64]],
        side_by_side: &mut SideBySide,
        into: &mut [Histogram],
    ) {
        into.iter_mut().for_each(|into| self.clear(level, into));
        let SideBySide { words, sums } = side_by_side;
        words.clear();
        words.resize(gradients.first().map_or(0, |of| of.len()), Slot::EMPTY);
        for (place, of) in gradients.iter().enumerate().take(TOGETHER) {
            words.iter_mut().zip(*of).for_each(|(to, word)| to.0[place] = *word);
        }
        let (others, flags) = self.blocks.split_at(self.first_flags);
        for block in others {
            sums.clear();
            sums.resize(block.slots, [Slot::EMPTY; BLOCK]);
            dispatch(level, AddTogether { width: block.width(), codes: &block.codes, rows, words, sums });
            for (place, into) in into.iter_mut().enumerate() {
                for (to, sums) in into.slots[block.first..].iter_mut().zip(&*sums) {
                    *to = Slot(std::array::from_fn(|lane| sums[lane].0[place]));
                }
            }
        }
        if !flags.is_empty() {
            for (gradients, into) in gradients.iter().zip(into) {
                self.add_flags(self, level, rows, gradients, into);
            }
        }
    }

    fn clear(&self, level: Level, histogram: &mut Histogram) {
        histogram.slots.resize(self.slots + MOST_SLOTS, Slot::EMPTY);
        dispatch(level, Clear(&mut histogram.slots[..self.slots]));
    }

    /// Sums flags, eight of them as one column.
    fn add_flags(&self, from: &Blocks, level: Level, rows: &[u32], gradients: &[u64], into: &mut Histogram) {
        for flags in &from.flags {
            let Some(slots) = into.block_mut(self.slots) else { continue };
            dispatch(level, Clear(slots));
            let (columns, codes) = (flags.columns.len().div_ceil(8), &flags.codes[..]);
            dispatch(level, AddColumns { columns, codes, rows, gradients, slots });
            let sums = dispatch(level, Unfold(slots));
            for (place, column) in flags.columns.iter().enumerate() {
                let Some(Place { block, lane }) = self.places[*column as usize] else { continue };
                let set = sums[1 + place % 8].0[place / 8];
                let first = self.blocks[block].first;
                into.slots[first + 1].0[lane] = sums[0].0[place / 8].wrapping_sub(set);
                into.slots[first + 2].0[lane] = set;
            }
        }
    }
}

/// Sets of gradients that are summed in one pass: a vector of their words.
pub const TOGETHER: usize = 8;

/// The memory of [`Blocks::build_together`].
#[derive(Debug, Clone, Default)]
pub struct SideBySide {
    /// A row's words.
    words: Vec<Slot>,
    /// `[slot][column of a block]`, the sums of each set of gradients.
    sums: Vec<[Slot; BLOCK]>,
}

/// Rows from which on eight flags are summed as one column: its 256 slots must be made the flags' own.
const FEWEST_ROWS_OF_FLAGS: usize = 128;

/// From the sums of eight bytes' 256 values to the sums of all rows, and of those with each bit set. Destroys the slots.
struct Unfold<'a>(&'a mut [Slot; MOST_SLOTS]);

impl Kernel for Unfold<'_> {
    type Output = [Slot; 9];

    #[inline(always)]
    fn run<V: Simd>(self) -> [Slot; 9] {
        let slots = self.0;
        let mut sums = [Slot::EMPTY; 9];
        for bit in (0..8).rev() {
            // What has the bit is the upper half of what is left; then the bit is forgotten.
            let (low, high) = slots.split_at_mut(1 << bit);
            let mut set = V::zero();
            for (low, high) in low.iter_mut().zip(high) {
                let high = V::load(halves(high));
                set = set.add_bits(high);
                V::load(halves(low)).add_bits(high).store(halves_mut(low));
            }
            set.store(halves_mut(&mut sums[1 + bit]));
        }
        sums[0] = slots[0];
        sums
    }
}

/// Sums of gradients by block and slot.
#[derive(Debug, Clone)]
pub struct Histogram {
    slots: Vec<Slot>,
}

impl Histogram {
    /// One block's sums; those of slots that it does not have are not its own.
    pub fn block(&self, block: &Block) -> Option<&[Slot; MOST_SLOTS]> {
        self.slots.get(block.first..)?.first_chunk()
    }

    fn block_mut(&mut self, first: usize) -> Option<&mut [Slot; MOST_SLOTS]> {
        self.slots.get_mut(first..)?.first_chunk_mut()
    }

    /// What is left when a child's sums are taken out of its parent's: its sibling's. `slots` are those of all blocks.
    pub fn subtract(&mut self, level: Level, child: &Histogram, slots: usize) {
        let slots = slots.min(self.slots.len()).min(child.slots.len());
        dispatch(level, Subtract { from: &mut self.slots[..slots], child: &child.slots[..slots] });
    }
}

/// A slot's eight words as sixteen halves, the low half of each first.
#[inline(always)]
pub fn halves(slot: &Slot) -> &Lanes {
    // SAFETY: both are 64 bytes at a multiple of 64, and every bit pattern is a float.
    unsafe { &*std::ptr::from_ref(slot).cast() }
}

/// See [`halves`].
#[inline(always)]
fn halves_mut(slot: &mut Slot) -> &mut Lanes {
    const { assert!(size_of::<Slot>() == size_of::<Lanes>() && align_of::<Slot>() == align_of::<Lanes>()) };
    const { assert!(2 * BLOCK == LANES && cfg!(target_endian = "little")) };
    // SAFETY: as above; and every float is a bit pattern of words.
    unsafe { &mut *std::ptr::from_mut(slot).cast() }
}

struct Clear<'a>(&'a mut [Slot]);

impl Kernel for Clear<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        for slot in self.0 {
            V::zero().store(halves_mut(slot));
        }
    }
}

/// Hessians' sums are not negative, so the halves of words can be subtracted apart.
struct Subtract<'a> {
    from: &'a mut [Slot],
    child: &'a [Slot],
}

impl Kernel for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        for (from, child) in self.from.iter_mut().zip(self.child) {
            V::load(halves(from)).sub_bits(V::load(halves(child))).store(halves_mut(from));
        }
    }
}

/// Parts rows in place by the slot of one column, in their order: those that `goes_left` (1 or 0 a slot) come first.
/// Gives how many they are. `spare` is as long as `rows` at least.
pub fn part(block: &Block, lane: usize, goes_left: &[u8; MOST_SLOTS], rows: &mut [u32], spare: &mut [u32]) -> usize {
    let (mut left, mut right) = (0, 0);
    for place in 0..rows.len() {
        let row = rows[place];
        let is_left = usize::from(goes_left[usize::from(block.codes[row as usize][lane % BLOCK])]);
        // Both are written, one of them for good: no branch that is guessed wrong half the time.
        rows[left] = row;
        spare[right] = row;
        left += is_left;
        right += 1 - is_left;
    }
    rows[left..].copy_from_slice(&spare[..right]);
    left
}

#[cfg(test)]
mod tests {
    use super::super::accumulate::FEWEST_ROWS_TO_PREFETCH;
    use super::*;
    use crate::base::random::{Key, below};

    const ROWS: usize = 300;
    const SLOTS: [usize; 23] = [3, 256, 0, 7, 2, 90, 31, 5, 17, 200, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3];

    fn code(column: usize, row: usize) -> u8 {
        // The columns from 11 on are flags; one of three slots with missing cells is none.
        let least = u64::from(column > 10);
        (least + below(Key::from_seed(column as u64), row as u64, SLOTS[column] as u64 - least)) as u8
    }

    fn gradients(rows: usize) -> Vec<u64> {
        let word = |row: u64| below(Key::from_seed(77), row, 2001) as i32 - 1000;
        (0..rows as u64).map(|row| pack(word(row), below(Key::from_seed(78), row, 500) as u32)).collect()
    }

    fn sums(blocks: &Blocks, histogram: &Histogram, column: usize, slot: usize) -> (i32, u32) {
        let place = blocks.places[column].unwrap();
        let word = histogram.block(&blocks.blocks[place.block]).unwrap()[slot].0[place.lane];
        (gradient(word), hessian(word))
    }

    #[test]
    fn sums_are_those_of_a_plain_loop_and_siblings_make_their_parent() {
        sums_are_those_of_a_plain_loop(ROWS);
        sums_are_those_of_a_plain_loop(FEWEST_ROWS_TO_PREFETCH);
    }

    fn sums_are_those_of_a_plain_loop(rows: usize) {
        let (blocks, gradients) = (Blocks::new(rows, &SLOTS, code), gradients(rows));
        let all: Vec<u32> = (0..rows as u32).collect();
        let (some, others): (Vec<u32>, Vec<u32>) = all.iter().partition(|row| *row % 3 == 1 && **row < 300);
        let mut chosen = Blocks::default();
        chosen.select(&blocks, rows, |column| column % 2 == 1);
        assert!(chosen.places.iter().enumerate().all(|(column, place)| place.is_some() == (column % 2 == 1)));
        assert!(all.len() >= FEWEST_ROWS_OF_FLAGS && some.len() < FEWEST_ROWS_OF_FLAGS && blocks.flags.len() == 1);
        for (from, blocks) in [(&blocks, &blocks), (&blocks, &chosen)] {
            let [mut parent, mut child] = [blocks.histogram(), blocks.histogram()];
            blocks.build(from, Level::detect(), &all, &gradients, &mut parent);
            blocks.build(from, Level::detect(), &some, &gradients, &mut child);
            parent.subtract(Level::detect(), &child, blocks.slots);
            for (rows, histogram) in [(&some, &child), (&others, &parent)] {
                for column in (0..SLOTS.len()).filter(|column| blocks.places[*column].is_some()) {
                    for slot in 0..SLOTS[column] {
                        let of = rows.iter().filter(|row| usize::from(code(column, **row as usize)) == slot);
                        let words = of.map(|row| gradients[*row as usize]);
                        let own = words.fold((0, 0), |(g, h), word| (g + gradient(word), h + hessian(word)));
                        assert_eq!(sums(blocks, histogram, column, slot), own, "column {column}, slot {slot}");
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_that_are_summed_together_have_the_sums_that_they_have_alone() {
        are_summed_together(ROWS);
        are_summed_together(FEWEST_ROWS_TO_PREFETCH);
    }

    fn are_summed_together(rows: usize) {
        let blocks = Blocks::new(rows, &SLOTS, code);
        let all: Vec<Vec<u64>> = (0..TOGETHER)
            .map(|set| gradients(rows).into_iter().map(|word| word.wrapping_mul(2 * set as u64 + 1)).collect())
            .collect();
        let (few, many): (Vec<u32>, Vec<u32>) = (0..rows as u32).partition(|row| row % 4 == 1);
        for (rows, sets) in [(&few, 3), (&many, TOGETHER)] {
            let gradients: Vec<&[u64]> = all.iter().take(sets).map(Vec::as_slice).collect();
            let mut together = vec![blocks.histogram(); sets];
            for level in Level::available() {
                blocks.build_together(level, rows, &gradients, &mut SideBySide::default(), &mut together);
                for (gradients, together) in gradients.iter().zip(&together) {
                    let mut alone = blocks.histogram();
                    blocks.build(&blocks, level, rows, gradients, &mut alone);
                    assert_eq!(together.slots[..blocks.slots], alone.slots[..blocks.slots], "{}", level.name());
                }
            }
        }
    }

    #[test]
    fn parting_keeps_the_order() {
        let blocks = Blocks::new(ROWS, &SLOTS, code);
        let place = blocks.places[3].unwrap();
        let goes_left: [u8; MOST_SLOTS] = std::array::from_fn(|slot| u8::from(slot % 2 == 0));
        let mut rows: Vec<u32> = (0..ROWS as u32).rev().collect();
        let (left, right): (Vec<u32>, Vec<u32>) =
            rows.iter().partition(|row| code(3, **row as usize).is_multiple_of(2));
        let n = part(&blocks.blocks[place.block], place.lane, &goes_left, &mut rows, &mut vec![0; ROWS]);
        assert_eq!((&rows[..n], &rows[n..]), (&left[..], &right[..]));
        assert!(n > 0 && n < ROWS);
    }

    #[test]
    fn packed_sums_come_apart_with_their_signs() {
        for (g, h) in [(-1, 3), (5, 7), (i32::MIN / 2, u32::MAX / 4), (-3, 1)] {
            let sum = pack(g, h).wrapping_add(pack(g, h)).wrapping_sub(pack(-1, 1));
            assert_eq!((gradient(sum), hessian(sum)), (2 * g + 1, 2 * h - 1));
        }
    }
}
