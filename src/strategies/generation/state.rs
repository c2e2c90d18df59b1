//! What a search by generations keeps: four flat arrays of 4-byte words, the same on every machine.

use crate::backend::cpu::simd::{LANES, Lanes};
use crate::base::random::Key;

/// A row's axes come in chunks of so many; what is left over of the last means nothing.
pub const WIDTH: usize = LANES;
/// Words of a state's head.
pub const HEAD: usize = 32;

/// Places in the head.
pub mod head {
    /// Generations so far.
    pub const GENERATION: usize = 0;
    /// Bits of the best value so far; NaN before there is one.
    pub const BEST: usize = 1;
    /// The two words of the key.
    pub const KEY: usize = 2;
    /// The first of those that mean what the method says.
    pub const OWN: usize = 8;
}

/// How much of what a state holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Members of a generation.
    pub members: usize,
    /// Axes of the cube.
    pub axes: usize,
    /// Single rows; the first is the place of the best so far.
    pub vectors: usize,
    /// Numbers of each member; the first is its value.
    pub columns: usize,
    /// Rows of each member; the first is its place in the cube.
    pub rows: usize,
    /// Numbers of each member that no generation leaves to the next.
    pub scratch_columns: usize,
    /// Rows of each member that no generation leaves to the next.
    pub scratch_rows: usize,
    /// Single rows that no generation leaves to the next.
    pub scratch_vectors: usize,
}

impl Layout {
    /// Of places and values alone.
    pub fn new(axes: usize, members: usize) -> Layout {
        Layout {
            members,
            axes,
            vectors: 1,
            columns: 1,
            rows: 1,
            scratch_columns: 0,
            scratch_rows: 0,
            scratch_vectors: 0,
        }
    }

    /// Chunks of a row.
    pub fn chunks(&self) -> usize {
        self.axes.div_ceil(WIDTH).max(1)
    }

    /// Words of a row.
    pub fn stride(&self) -> usize {
        self.chunks() * WIDTH
    }

    /// Words of a state.
    pub fn words(&self) -> usize {
        HEAD + self.stride() * (self.vectors + self.members * self.rows) + self.members * self.columns
    }
}

/// A search's state.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Its sizes.
    pub layout: Layout,
    /// The generation, the bits of the best value, the key, and from word 8 on what the method says.
    pub head: [u32; HEAD],
    /// `[vector][chunk]`
    pub vectors: Vec<Lanes>,
    /// `[column][member]`
    pub columns: Vec<f32>,
    /// `[row][member][chunk]`
    pub rows: Vec<Lanes>,
}

impl State {
    /// Zeros, without a best.
    pub fn new(layout: Layout, key: Key) -> State {
        let mut head = [0; HEAD];
        head[head::BEST] = f32::NAN.to_bits();
        head[head::KEY..][..2].copy_from_slice(&key.0);
        State {
            head,
            vectors: vec![Lanes::ZERO; layout.vectors * layout.chunks()],
            columns: vec![f32::NAN; layout.columns * layout.members],
            rows: vec![Lanes::ZERO; layout.rows * layout.members * layout.chunks()],
            layout,
        }
    }

    /// The key of the search.
    pub fn key(&self) -> Key {
        Key([self.head[head::KEY], self.head[head::KEY + 1]])
    }

    /// The key of the generation at hand.
    pub fn generation_key(&self) -> Key {
        self.key().child(self.head[head::GENERATION])
    }

    /// Generations so far.
    pub fn generation(&self) -> u32 {
        self.head[head::GENERATION]
    }

    /// The best value so far, as it is to be minimised.
    pub fn best(&self) -> f32 {
        f32::from_bits(self.head[head::BEST])
    }

    /// A number of the head.
    pub fn number(&self, place: usize) -> f32 {
        f32::from_bits(self.head[place])
    }

    /// Sets a number of the head.
    pub fn set_number(&mut self, place: usize, value: f32) {
        self.head[place] = value.to_bits();
    }

    /// A single row.
    pub fn vector(&self, index: usize) -> &[Lanes] {
        let chunks = self.layout.chunks();
        &self.vectors[index * chunks..][..chunks]
    }

    /// A single row, to be written.
    pub fn vector_mut(&mut self, index: usize) -> &mut [Lanes] {
        let chunks = self.layout.chunks();
        &mut self.vectors[index * chunks..][..chunks]
    }

    /// A member's place.
    pub fn place(&self, member: usize) -> &[Lanes] {
        let chunks = self.layout.chunks();
        &self.rows[member * chunks..][..chunks]
    }

    /// All of it.
    pub fn to_words(&self) -> Vec<u32> {
        let bits = |lanes: &Lanes| lanes.0.map(f32::to_bits);
        let mut words = Vec::with_capacity(self.layout.words());
        words.extend_from_slice(&self.head);
        words.extend(self.vectors.iter().flat_map(bits));
        words.extend(self.columns.iter().map(|value| value.to_bits()));
        words.extend(self.rows.iter().flat_map(bits));
        words
    }

    /// Takes over what [`State::to_words`] gave of a state of the same layout and key; false where these words are none.
    pub fn set_words(&mut self, words: &[u32]) -> bool {
        if words.len() != self.layout.words() || words[head::KEY..][..2] != self.head[head::KEY..][..2] {
            return false;
        }
        self.head.copy_from_slice(&words[..HEAD]);
        let mut numbers = words[HEAD..].iter().map(|word| f32::from_bits(*word));
        let mut fill = |to: &mut [f32]| to.iter_mut().zip(&mut numbers).for_each(|(to, number)| *to = number);
        self.vectors.iter_mut().for_each(|lanes| fill(&mut lanes.0));
        fill(&mut self.columns);
        self.rows.iter_mut().for_each(|lanes| fill(&mut lanes.0));
        true
    }
}

/// A value's place in the order of values: NaN last, and both zeros the same.
#[inline(always)]
pub fn sortable(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    match value.is_nan() {
        true => u32::MAX,
        false if bits >> 31 == 1 => !bits,
        false => bits | 1 << 31,
    }
}

/// The order of members by value, of equal ones the earlier first.
#[inline(always)]
pub fn rank_key(value: f32, member: usize) -> u64 {
    u64::from(sortable(value)) << 32 | member as u64
}
