//! Histograms of gradients over binned columns: what the splits of trees are decided from.
//!
//! Gradients and hessians are whole numbers ([`pack`]), so that sums have the same bits in any order and on any device,
//! and a child's histogram is exactly its parent's less its sibling's. Columns lie in blocks of eight: a row's bins of a
//! block are one 64-bit word, and a bin's sums of a block one cache line, so that scanning bins goes through eight columns
//! side by side in SIMD.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Eight columns, the last block maybe fewer.
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

/// A place of a block that holds no column.
pub const NO_COLUMN: u32 = u32::MAX;

/// Rows in slots, by blocks of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    /// Columns with many slots first, so that those of a block are about equally wide.
    pub blocks: Vec<Block>,
    /// Of each column; `None` for those that were left out.
    pub places: Vec<Option<Place>>,
    /// Slots of all blocks.
    pub slots: usize,
    rows: usize,
}

impl Blocks {
    /// Lays columns out. `slots`: how many each has, with that of missing values; 0 leaves a column out. `codes` gives the
    /// slot of a column's row.
    pub fn new(rows: usize, slots: &[usize], code: impl Fn(usize, usize) -> u8) -> Blocks {
        let mut order: Vec<usize> = (0..slots.len()).filter(|column| slots[*column] > 0).collect();
        order.sort_by_key(|column| (std::cmp::Reverse(slots[*column]), *column));
        let mut made = Blocks { places: vec![None; slots.len()], rows, ..Blocks::default() };
        for (block, members) in order.chunks(BLOCK).enumerate() {
            let mut codes = vec![[MISSING; BLOCK]; rows];
            let mut columns = [NO_COLUMN; BLOCK];
            for (lane, &column) in members.iter().enumerate() {
                columns[lane] = column as u32;
                made.places[column] = Some(Place { block, lane });
                codes.iter_mut().enumerate().for_each(|(row, codes)| codes[lane] = code(column, row));
            }
            let widest = slots[members[0]];
            made.blocks.push(Block { codes, first: made.slots, slots: widest, columns });
            made.slots += widest;
        }
        made
    }

    /// Some of another layout's columns and rows `0..rows`, in the same order; `self` keeps its memory.
    pub fn select(&mut self, from: &Blocks, rows: usize, is_in: impl Fn(usize) -> bool) {
        self.places.clear();
        self.places.resize(from.places.len(), None);
        (self.slots, self.rows) = (0, rows);
        let all = from
            .blocks
            .iter()
            .flat_map(|block| block.columns.iter().enumerate().map(move |(lane, c)| (block, lane, *c)));
        let mut chosen = all.filter(|(.., column)| *column != NO_COLUMN && is_in(*column as usize)).peekable();
        let mut made = 0;
        while chosen.peek().is_some() {
            if self.blocks.len() == made {
                self.blocks.push(Block { codes: Vec::new(), first: 0, slots: 0, columns: [NO_COLUMN; BLOCK] });
            }
            let to = &mut self.blocks[made];
            (to.columns, to.first, to.slots) = ([NO_COLUMN; BLOCK], self.slots, 0);
            to.codes.clear();
            to.codes.resize(rows, [MISSING; BLOCK]);
            for (lane, (block, source, column)) in chosen.by_ref().take(BLOCK).enumerate() {
                to.columns[lane] = column;
                to.slots = to.slots.max(block.slots);
                self.places[column as usize] = Some(Place { block: made, lane });
                to.codes.iter_mut().zip(&block.codes).for_each(|(to, from)| to[lane] = from[source]);
            }
            self.slots += to.slots;
            made += 1;
        }
        self.blocks.truncate(made);
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// An empty histogram of these columns.
    pub fn histogram(&self) -> Histogram {
        // A block's slots are always seen as 256 of them, whatever follows.
        Histogram { slots: vec![Slot::EMPTY; self.slots + MOST_SLOTS] }
    }

    /// Sums the packed gradients of some rows. `gradients` has one word a row.
    pub fn build(&self, rows: &[u32], gradients: &[u64], into: &mut Histogram) {
        into.clear(self.slots);
        for block in &self.blocks {
            let Some(slots) = into.block_mut(block) else { continue };
            add(&block.codes, rows, gradients, slots);
        }
    }
}

/// Rows whose slots and gradients are asked for ahead of their turn.
const AHEAD: usize = 16;

/// Adds the gradients of some rows to one block's sums.
fn add(codes: &[[u8; BLOCK]], rows: &[u32], gradients: &[u64], slots: &mut [Slot; MOST_SLOTS]) {
    for (place, &row) in rows.iter().enumerate() {
        if let Some(&row) = rows.get(place + AHEAD) {
            prefetch(codes, row as usize);
            prefetch(gradients, row as usize);
        }
        let (codes, gradient) = (codes[row as usize], gradients[row as usize]);
        for (lane, code) in codes.into_iter().enumerate() {
            let sum = &mut slots[usize::from(code)].0[lane];
            *sum = sum.wrapping_add(gradient);
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

    fn block_mut(&mut self, block: &Block) -> Option<&mut [Slot; MOST_SLOTS]> {
        self.slots.get_mut(block.first..)?.first_chunk_mut()
    }

    /// Makes room for so many slots, all empty.
    fn clear(&mut self, slots: usize) {
        self.slots.resize(slots + MOST_SLOTS, Slot::EMPTY);
        self.slots[..slots].fill(Slot::EMPTY);
    }

    /// What is left when a child's sums are taken out of its parent's: its sibling's. `slots` are those of all blocks.
    pub fn subtract(&mut self, child: &Histogram, slots: usize) {
        for (sums, child) in self.slots.iter_mut().zip(&child.slots).take(slots) {
            sums.0.iter_mut().zip(child.0).for_each(|(sum, child)| *sum = sum.wrapping_sub(child));
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
    use super::*;
    use crate::base::random::{Key, below};

    const ROWS: usize = 300;
    const SLOTS: [usize; 11] = [3, 256, 0, 7, 2, 90, 31, 5, 17, 200, 4];

    fn code(column: usize, row: usize) -> u8 {
        below(Key::from_seed(column as u64), row as u64, SLOTS[column] as u64) as u8
    }

    fn gradients() -> Vec<u64> {
        let word = |row: u64| below(Key::from_seed(77), row, 2001) as i32 - 1000;
        (0..ROWS as u64).map(|row| pack(word(row), below(Key::from_seed(78), row, 500) as u32)).collect()
    }

    fn sums(blocks: &Blocks, histogram: &Histogram, column: usize, slot: usize) -> (i32, u32) {
        let place = blocks.places[column].unwrap();
        let word = histogram.block(&blocks.blocks[place.block]).unwrap()[slot].0[place.lane];
        (gradient(word), hessian(word))
    }

    #[test]
    fn sums_are_those_of_a_plain_loop_and_siblings_make_their_parent() {
        let (blocks, gradients) = (Blocks::new(ROWS, &SLOTS, code), gradients());
        let all: Vec<u32> = (0..ROWS as u32).collect();
        let (some, others): (Vec<u32>, Vec<u32>) = all.iter().partition(|row| *row % 3 == 1);
        let mut chosen = Blocks::default();
        chosen.select(&blocks, ROWS, |column| column % 2 == 1);
        assert!(chosen.places.iter().enumerate().all(|(column, place)| place.is_some() == (column % 2 == 1)));
        for blocks in [&blocks, &chosen] {
            let [mut parent, mut child] = [blocks.histogram(), blocks.histogram()];
            blocks.build(&all, &gradients, &mut parent);
            blocks.build(&some, &gradients, &mut child);
            parent.subtract(&child, blocks.slots);
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
    fn parting_keeps_the_order() {
        let blocks = Blocks::new(ROWS, &SLOTS, code);
        let place = blocks.places[3].unwrap();
        let goes_left: [u8; MOST_SLOTS] = std::array::from_fn(|slot| u8::from(slot % 2 == 0));
        let mut rows: Vec<u32> = (0..ROWS as u32).rev().collect();
        let (left, right): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| code(3, **row as usize) % 2 == 0);
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
