//! Sobol' sequence with Owen's scrambling: every aligned block of 2^m points is a net, whose bits a key flips so that each
//! point by itself is uniform.
//!
//! Direction numbers by Joe & Kuo 2008 (joe_kuo.txt); scrambling by hashes of Burley 2020, "Practical hash-based Owen
//! scrambling" (JCGT 9 (4)), sections 3 and 4.

use super::sequence::{DIMENSIONS, Sequence, Sequenced, uniform};
use super::{Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::space::Space;
use std::sync::Arc;

/// The registry entry.
pub struct SobolSearch;

impl Named for SobolSearch {
    fn name(&self) -> &'static str {
        "sobol"
    }
    fn summary(&self) -> &'static str {
        "scrambled Sobol' points, more even than random ones"
    }
}

impl StrategyEntry for SobolSearch {
    fn is_adaptive(&self) -> bool {
        false
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let key = options.key;
        Box::new(Sequenced::new(space, key.child(0), |axes| Sobol::new(key.child(1), axes)))
    }
}

/// Columns `d s a m_i` from dimension 2 on.
const NUMBERS: &str = include_str!("joe_kuo.txt");

/// Bits of a coordinate, and of the numbers of points under one scrambling.
const BITS: usize = 32;

pub(super) struct Sobol {
    key: Key,
    /// Of each axis: what each bit of a point's number adds.
    directions: Vec<[u32; BITS]>,
}

impl Sobol {
    pub(super) fn new(key: Key, axes: usize) -> Sobol {
        // The first dimension is van der Corput's sequence: the bits in reverse.
        let first = std::array::from_fn(|bit| 1 << (BITS - 1 - bit));
        let lines = NUMBERS.lines().filter(|line| !line.starts_with('#'));
        Sobol { key, directions: std::iter::once(first).chain(lines.map(directions)).take(axes).collect() }
    }

    /// Unscrambled: the exclusive sum of the directions of a number's bits.
    fn plain(&self, number: u32, axis: usize) -> u32 {
        let bits = self.directions[axis].iter().enumerate();
        bits.fold(0, |sum, (bit, direction)| if number >> bit & 1 == 1 { sum ^ direction } else { sum })
    }
}

/// A dimension's directions from its line: Joe & Kuo 2008, eq. (2) with v_k = m_k / 2^k.
fn directions(line: &str) -> [u32; BITS] {
    let mut numbers = line.split(' ').skip(1).map(|number| number.parse().unwrap_or(0u32));
    let degree = numbers.next().unwrap_or(1) as usize;
    let polynomial = numbers.next().unwrap_or(0);
    let mut v = [0u32; BITS];
    v.iter_mut().zip(numbers).enumerate().for_each(|(k, (v, m))| *v = m << (BITS - 1 - k));
    for k in degree..BITS {
        v[k] = v[k - degree] ^ v[k - degree] >> degree;
        for i in 1..degree {
            if polynomial >> (degree - 1 - i) & 1 == 1 {
                v[k] ^= v[k - i];
            }
        }
    }
    v
}

/// A permutation whose bits depend on those below them alone (Laine & Karras 2011, with the constants of Burley, listing 1).
fn laine_karras(mut x: u32, seed: u32) -> u32 {
    x = x.wrapping_add(seed);
    for factor in [0x6c50_b47c, 0xb82f_1e52, 0xc7af_e638, 0x8d22_f6e6] {
        x ^= x.wrapping_mul(factor);
    }
    x
}

/// Owen's nested uniform scrambling: each bit is flipped by a hash of the bits above it (Burley, section 3.2).
fn scramble(x: u32, seed: u32) -> u32 {
    laine_karras(x.reverse_bits(), seed).reverse_bits()
}

impl Sequence for Sobol {
    fn coordinate(&self, index: u64, axis: usize) -> f64 {
        // More points than a coordinate has values: another scrambling.
        let key = self.key.child_of_number(index >> BITS);
        if axis >= DIMENSIONS {
            return uniform(key, index, axis);
        }
        let seed = key.words(axis as u64)[0];
        let scrambled = scramble(self.plain(index as u32, axis), seed);
        (f64::from(scrambled) + 0.5) / (1u64 << BITS) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::sequence::testing;

    #[test]
    fn plain_points_are_those_of_the_published_numbers() {
        let sobol = Sobol::new(Key::from_seed(0), DIMENSIONS);
        assert_eq!(sobol.directions.len(), DIMENSIONS);
        let place = |number, axis| f64::from(sobol.plain(number, axis)) / 4_294_967_296.0;
        // Joe & Kuo's notes, figure of the first ten points, in the order of plain numbers.
        let first: Vec<[f64; 2]> = (0..4).map(|number| [place(number, 0), place(number, 1)]).collect();
        assert_eq!(first, [[0.0, 0.0], [0.5, 0.5], [0.25, 0.75], [0.75, 0.25]]);
        // tests/fixtures/strategies/qmc.py; scipy walks in Gray code's order.
        for (axis, known) in [
            (0, 0.2197265625),
            (1, 0.0966796875),
            (2, 0.5185546875),
            (9, 0.0693359375),
            (99, 0.1865234375),
            (255, 0.2490234375),
        ] {
            assert_eq!(place(1000 ^ 500, axis), known, "axis {axis}");
        }
    }

    #[test]
    fn scrambled_points_are_still_nets() {
        let sobol = Sobol::new(Key::from_seed(7), 20);
        // Every axis alone, in every aligned block; the first two axes together in every box of 1/256.
        for axis in 0..20 {
            assert!(
                testing::fills_every_part(&sobol, axis, 256, 0) && testing::fills_every_part(&sobol, axis, 256, 512)
            );
        }
        for bits in 0..=8 {
            let mut seen = [false; 256];
            for index in 256..512 {
                let part = |axis, parts: u32| (sobol.coordinate(index, axis) * f64::from(parts)) as usize;
                seen[part(0, 1 << bits) << (8 - bits) | part(1, 1 << (8 - bits))] = true;
            }
            assert!(seen.iter().all(|seen| *seen), "2^{bits} parts of the first axis");
        }
    }

    #[test]
    fn points_are_as_even_as_those_of_scipy() {
        // Medians of 51 seeds by tests/fixtures/strategies/qmc.py.
        for (axes, points, scipy) in [(2, 256, 1.102e-5), (5, 256, 2.421e-4), (5, 200, 5.694e-4)] {
            let ours = testing::median_discrepancy(axes, points, |key| Sobol::new(key, axes));
            assert!(ours < 1.1 * scipy, "{axes} axes, {points} points: {ours:e}");
        }
    }

    #[test]
    fn another_scrambling_follows_the_last_point() {
        let sobol = Sobol::new(Key::from_seed(7), 2);
        assert_ne!(sobol.coordinate(3, 0), sobol.coordinate(3 + (1 << 32), 0));
        assert_ne!(sobol.coordinate(3, 0) < 0.5, sobol.coordinate(2, 0) < 0.5);
    }

    #[test]
    fn sobol_keeps_the_promises_of_a_sequence() {
        testing::keeps_the_promises_of_a_sequence(&SobolSearch);
    }
}
