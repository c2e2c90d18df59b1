//! A hash of a tree: what tells that two devices have grown the same one without keeping its nodes.

use super::plant::Outcome;
use super::sums;
use crate::base::random::threefry;
use crate::models::trees::tree::{Cut, Split};

/// First word of a leaf, which no split has.
pub const LEAF: u32 = u32::MAX;
/// Bits of a split's first word beside its feature: missing values go left, and it is a category.
const MISSING_LEFT: u32 = 1 << 31;
/// See [`MISSING_LEFT`].
const CATEGORY: u32 = 1 << 30;

/// Of nodes in the order in which they are made, depth first and the left child before the right: shaders/models/forest/
/// has the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hash(pub [u32; 2]);

impl Hash {
    /// Adds a split with everything that it decides.
    pub fn split(&mut self, split: &Split) {
        let missing = if split.missing_left { MISSING_LEFT } else { 0 };
        match split.cut {
            Cut::UpTo(last) => self.add([split.feature | missing, u32::from(last)]),
            Cut::Subset(set) => {
                self.add([split.feature | missing | CATEGORY, 0]);
                set.as_chunks::<2>().0.iter().for_each(|pair| self.add(*pair));
            }
        }
    }

    /// Adds a leaf with the totals of its rows.
    pub fn leaf(&mut self, outcome: Outcome, totals: &[u32]) {
        match outcome {
            Outcome::Classes(classes) => {
                self.add([LEAF, classes as u32]);
                let pairs = totals[..classes].chunks(2);
                pairs.for_each(|pair| self.add([pair[0], pair.get(1).copied().unwrap_or(0)]));
            }
            Outcome::Numbers(_) => {
                let (steps, weight) = sums::of_words(totals);
                self.add([LEAF, weight]);
                self.add([steps as u32, (steps >> 32) as u32]);
            }
        }
    }

    /// Adds a tree, or two words of one.
    pub fn add(&mut self, words: [u32; 2]) {
        self.0 = threefry(self.0, words);
    }
}
