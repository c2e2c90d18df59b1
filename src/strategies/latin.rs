//! Latin hypercube: of n candidates, each n-th of each axis holds one (McKay, Beckman & Conover 1979). n is what the study
//! asks for after its starts; a study that goes on past it begins another hypercube.

use super::sequence::{Sequence, Sequenced, uniform};
use super::{Strategy, StrategyEntry, StrategyOptions};
use crate::base::permutation::Permutation;
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::space::Space;
use std::sync::Arc;

/// The registry entry.
pub struct LatinSearch;

impl Named for LatinSearch {
    fn name(&self) -> &'static str {
        "latin"
    }
    fn summary(&self) -> &'static str {
        "a Latin hypercube of all candidates: every parameter evenly"
    }
}

impl StrategyEntry for LatinSearch {
    fn is_adaptive(&self) -> bool {
        false
    }

    fn follows_candidates(&self) -> bool {
        true
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let points = options.candidates.saturating_sub(space.starts().len() as u64).max(1);
        let key = options.key;
        Box::new(Sequenced::new(space, key.child(0), |_| Latin { key: key.child(1), points }))
    }
}

struct Latin {
    key: Key,
    /// In one hypercube.
    points: u64,
}

impl Sequence for Latin {
    fn coordinate(&self, index: u64, axis: usize) -> f64 {
        let cube = self.key.child_of_number(index / self.points);
        let part = Permutation::new(cube.child(axis as u32), self.points).index(index % self.points);
        let within = uniform(cube.child(u32::MAX), index, axis);
        // The sum of a large part and a number just below 1 may round up to the next part.
        ((part as f64 + within) / self.points as f64).min(1.0 - f64::EPSILON / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::Ask;
    use crate::strategies::sequence::testing;

    #[test]
    fn every_part_of_every_axis_holds_one_point() {
        for points in [1, 2, 7, 100, 1000] {
            let latin = Latin { key: Key::from_seed(points), points };
            for axis in [0, 1, 300] {
                for cube in 0..3 {
                    assert!(testing::fills_every_part(&latin, axis, points, cube * points), "{points}, axis {axis}");
                }
            }
        }
    }

    #[test]
    fn the_candidates_of_a_study_are_one_hypercube() {
        let space = crate::space::SpaceBuilder::new().float("x", 0.0, 1.0, 0.5).build();
        let mut strategy = LatinSearch.open(Arc::new(space), &testing::options(1, 101));
        let Ask::Proposals(points) = strategy.ask(1, 100) else { panic!("proposals without end") };
        let mut parts: Vec<usize> = points.rows().map(|row| (row[0] * 100.0) as usize).collect();
        parts.sort_unstable();
        assert!(parts.into_iter().eq(0..100));
    }

    #[test]
    fn points_are_as_even_as_those_of_scipy() {
        // Medians of 51 seeds by tests/fixtures/strategies/qmc.py.
        for (axes, points, scipy) in [(2, 256, 1.090e-4), (5, 256, 1.588e-3), (5, 200, 2.093e-3)] {
            let ours = testing::median_discrepancy(axes, points, |key| Latin { key, points });
            assert!(ours < 1.1 * scipy, "{axes} axes, {points} points: {ours:e}");
        }
    }

    #[test]
    fn latin_keeps_the_promises_of_a_sequence() {
        testing::keeps_the_promises_of_a_sequence(&LatinSearch);
    }
}
