//! A keyed permutation of `0..n` that is computed at a point: no memory, whatever n is.
//!
//! A Feistel network of four rounds on the smallest even number of bits that holds n, with Threefry as its round
//! function; what falls outside is permuted again until it falls inside (cycle walking, Black & Rogaway 2002).

use super::random::{Key, threefry};

/// A permutation of `0..n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    key: Key,
    n: u64,
    half_bits: u32,
}

impl Permutation {
    /// The permutation that a key stands for.
    pub fn new(key: Key, n: u64) -> Permutation {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        Permutation { key, n, half_bits: bits.div_ceil(2).max(1) }
    }

    /// Where `index` goes; `index` is below n.
    pub fn index(&self, index: u64) -> u64 {
        let mut place = index;
        loop {
            place = self.round_trip(place);
            if place < self.n {
                return place;
            }
        }
    }

    fn round_trip(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..4 {
            let hashed = u64::from(threefry(self.key.0, [right as u32, round])[0]);
            (left, right) = (right, left ^ (hashed & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_once_whatever_n() {
        for n in [1, 2, 3, 7, 64, 65, 1000, 4097] {
            let permutation = Permutation::new(Key::from_seed(3), n);
            let mut seen = vec![false; n as usize];
            (0..n).for_each(|index| seen[permutation.index(index) as usize] = true);
            assert!(seen.iter().all(|seen| *seen), "n = {n}");
        }
    }

    #[test]
    fn keys_permute_differently() {
        let order = |seed| {
            let permutation = Permutation::new(Key::from_seed(seed), 100);
            (0..100).map(|index| permutation.index(index)).collect::<Vec<_>>()
        };
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..100).collect::<Vec<_>>());
    }
}
