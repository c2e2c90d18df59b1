//! What is left of a discrete space: its points in a random order, each once.

use crate::base::permutation::Permutation;
use crate::base::random::Key;
use crate::space::{Codec, Space};
use std::collections::HashSet;
use std::sync::Arc;

/// Points that one proposal looks at: most of a space's numbers may stand for points that constraints forbid, or that
/// conditions make one.
const STEPS: u32 = 10_000;

/// The points of a discrete space that were candidates, and an order in which to find others.
#[derive(Debug)]
pub(in crate::strategies) struct Remainder {
    space: Arc<Space>,
    codecs: Vec<Codec>,
    /// Fingerprints of all candidates so far.
    seen: HashSet<u64>,
    /// None where there are more combinations than 64 bits count.
    order: Option<Permutation>,
    size: u64,
    next: u64,
}

/// What a look for another point found.
#[derive(Debug, PartialEq)]
pub(in crate::strategies) enum Found {
    /// A point that is allowed and was no candidate yet.
    Row(Vec<f64>),
    /// Nothing within some steps.
    Nothing,
    /// There is no further point.
    Exhausted,
}

impl Remainder {
    /// Of a space; None where it has a continuum.
    pub(in crate::strategies) fn new(space: &Arc<Space>, codecs: &[Codec], key: Key) -> Option<Remainder> {
        let counts: Option<Vec<u64>> = codecs.iter().map(Codec::count).collect();
        let size = counts?.into_iter().try_fold(1u64, u64::checked_mul);
        Some(Remainder {
            space: space.clone(),
            codecs: codecs.to_vec(),
            seen: HashSet::new(),
            order: size.map(|size| Permutation::new(key, size)),
            size: size.unwrap_or(u64::MAX),
            next: 0,
        })
    }

    pub(in crate::strategies) fn insert(&mut self, row: &[f64]) {
        self.seen.insert(fingerprint(row));
    }

    pub(in crate::strategies) fn contains(&self, row: &[f64]) -> bool {
        self.seen.contains(&fingerprint(row))
    }

    /// Looks for another point. What it passes by, it never looks at again.
    pub(in crate::strategies) fn find(&mut self) -> Found {
        let Some(order) = self.order else { return Found::Nothing };
        for _ in 0..STEPS {
            if self.next == self.size {
                return Found::Exhausted;
            }
            let row = self.row(order.index(self.next));
            self.next += 1;
            if self.space.is_allowed(&row) && !self.contains(&row) {
                return Found::Row(row);
            }
        }
        Found::Nothing
    }

    /// The point of a number in mixed radix, first column last.
    fn row(&self, mut number: u64) -> Vec<f64> {
        let mut digit = |codec: &Codec| {
            let count = codec.count().unwrap_or(1);
            let index = number % count;
            number /= count;
            codec.nth(index, count)
        };
        let mut row: Vec<f64> = self.codecs.iter().map(&mut digit).collect();
        self.space.mask(&mut row);
        row
    }
}

/// A hash of a row's bits; two rows of a study share one with a chance of about n^2 / 2^64.
fn fingerprint(row: &[f64]) -> u64 {
    let mix = |key: Key, value: &f64| {
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        Key(key.words(bits))
    };
    let hash = row.iter().fold(Key::from_seed(row.len() as u64), mix);
    u64::from(hash.0[0]) << 32 | u64::from(hash.0[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    #[test]
    fn every_point_is_found_once_whatever_its_conditions() {
        let space =
            SpaceBuilder::new().boolean("held", true).categorical("kind", &["a", "b"], "a").int("width", 1, 5, 2);
        let space = Arc::new(space.when("width", "kind", &["b"]).build());
        let mut remainder = Remainder::new(&space, &space.codecs(), Key::from_seed(1)).expect("a discrete space");
        let mut found = 0;
        while let Found::Row(row) = remainder.find() {
            assert!(!remainder.contains(&row), "{row:?} again");
            remainder.insert(&row);
            found += 1;
        }
        // Two of "held" by one without a width and five with one.
        assert_eq!((found, remainder.find()), (12, Found::Exhausted));
    }
}
