//! Halton's sequence: along each axis a point's number, written in a prime base and read backwards, with the digits
//! permuted at random.
//!
//! Owen 2017, "A randomized Halton algorithm in R" (arXiv:1706.02808): every place of every base has its own permutation,
//! that of leading zeros too, so that each point by itself is uniform.

use super::sequence::{DIMENSIONS, Sequence, Sequenced, uniform};
use super::{Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::{Key, shuffled};
use crate::base::registry::Named;
use crate::space::Space;
use std::sync::Arc;

/// The registry entry.
pub struct HaltonSearch;

impl Named for HaltonSearch {
    fn name(&self) -> &'static str {
        "halton"
    }
    fn summary(&self) -> &'static str {
        "randomized Halton points, more even than random ones"
    }
}

impl StrategyEntry for HaltonSearch {
    fn is_adaptive(&self) -> bool {
        false
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let key = options.key;
        Box::new(Sequenced::new(space, key.child(0), |axes| Halton::new(key.child(1), axes)))
    }
}

/// A number below this is as good as zero beside a coordinate: 2^-53.
const NOTHING: f64 = f64::EPSILON / 2.0;

struct Halton {
    /// For the axes without a base.
    key: Key,
    bases: Vec<Base>,
}

/// A prime, and where its digits go at each place.
struct Base {
    base: u64,
    digits: Vec<Vec<u32>>,
}

impl Base {
    fn new(key: Key, base: u64) -> Base {
        let places = std::iter::successors(Some(1.0), |share| Some(share / base as f64));
        let places = places.take_while(|share| *share > NOTHING).count() as u32;
        let digits = (0..places).map(|place| shuffled(key.child(place), base as usize)).collect();
        Base { base, digits }
    }
}

impl Halton {
    fn new(key: Key, axes: usize) -> Halton {
        let bases = (0..).zip(primes().take(axes.min(DIMENSIONS)));
        Halton { bases: bases.map(|(axis, base)| Base::new(key.child(axis), base)).collect(), key }
    }
}

/// The primes in their order.
fn primes() -> impl Iterator<Item = u64> {
    (2u64..).filter(|number| (2..).take_while(|factor| factor * factor <= *number).all(|factor| number % factor != 0))
}

impl Sequence for Halton {
    fn coordinate(&self, index: u64, axis: usize) -> f64 {
        let Some(Base { base, digits }) = self.bases.get(axis) else {
            return uniform(self.key.child_of_number(u64::MAX), index, axis);
        };
        let (mut left, mut share, mut place) = (index, 1.0, 0.0);
        for digits in digits {
            share /= *base as f64;
            place += f64::from(digits[(left % base) as usize]) * share;
            left /= base;
        }
        place.min(1.0 - NOTHING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::sequence::testing;

    #[test]
    fn bases_are_the_primes() {
        let known: Vec<u64> = primes().take(DIMENSIONS).collect();
        assert_eq!(known[..10], [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        // The 256th prime, OEIS A000040.
        assert_eq!(known[DIMENSIONS - 1], 1619);
    }

    #[test]
    fn without_permutations_digits_are_read_backwards() {
        let mut halton = Halton::new(Key::from_seed(0), 3);
        for Base { base, digits } in &mut halton.bases {
            digits.iter_mut().for_each(|digits| *digits = (0..*base as u32).collect());
        }
        // 11 is 1011, 102 and 21.
        for (axis, known) in [(0, 13.0 / 16.0), (1, 2.0 / 3.0 + 0.0 / 9.0 + 1.0 / 27.0), (2, 1.0 / 5.0 + 2.0 / 25.0)] {
            assert!((halton.coordinate(11, axis) - known).abs() < 1e-15, "axis {axis}");
        }
    }

    #[test]
    fn every_block_of_a_power_fills_its_axis() {
        let halton = Halton::new(Key::from_seed(3), 20);
        for (axis, points) in [(0, 256), (1, 243), (2, 125), (9, 29), (19, 71)] {
            for block in [0, 1, 5] {
                assert!(testing::fills_every_part(&halton, axis, points, block * points), "axis {axis}, block {block}");
            }
        }
    }

    #[test]
    fn points_are_as_even_as_those_of_scipy() {
        // Medians of 51 seeds by tests/fixtures/strategies/qmc.py.
        for (axes, points, scipy) in [(2, 256, 2.035e-5), (5, 256, 3.991e-4), (5, 200, 5.802e-4)] {
            let ours = testing::median_discrepancy(axes, points, |key| Halton::new(key, axes));
            assert!(ours < 1.1 * scipy, "{axes} axes, {points} points: {ours:e}");
        }
    }

    #[test]
    fn halton_keeps_the_promises_of_a_sequence() {
        testing::keeps_the_promises_of_a_sequence(&HaltonSearch);
    }
}
