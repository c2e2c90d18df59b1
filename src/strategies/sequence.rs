//! What low-discrepancy strategies share: candidate i is a function of the key and i alone, as in random search. The first
//! are the model's defaults, or those of each model; the sequence begins after them, at its point 0.

use super::cube::Cube;
use super::{Ask, Outcome, Strategy};
use crate::base::random::{Key, uniform_f64};
use crate::space::{Points, Space};
use rayon::prelude::*;
use std::sync::Arc;

/// Points that cover the unit cube evenly.
pub(super) trait Sequence: Send + Sync {
    /// Where point `index` is along an axis: in [0, 1).
    fn coordinate(&self, index: u64, axis: usize) -> f64;
}

/// Axes that a sequence of dimensions has numbers for; those beyond are drawn uniformly.
pub(super) const DIMENSIONS: usize = 256;

/// A uniform number: what axes have that a sequence does not reach.
pub(super) fn uniform(key: Key, index: u64, axis: usize) -> f64 {
    uniform_f64(key.child(axis as u32).words(index))
}

/// Candidates that one thread makes in a row; fewer are not worth a second thread.
const SERIAL: usize = 256;

/// A strategy of a sequence.
pub(super) struct Sequenced<S> {
    cube: Cube,
    starts: Vec<Vec<f64>>,
    sequence: S,
    /// For candidates whose point the constraints do not allow.
    redraws: Key,
}

impl<S: Sequence> Sequenced<S> {
    /// The sequence is made for so many axes.
    pub(super) fn new(space: Arc<Space>, redraws: Key, sequence: impl FnOnce(usize) -> S) -> Sequenced<S> {
        let cube = Cube::new(space.clone());
        Sequenced { starts: space.starts(), sequence: sequence(cube.axes().len()), cube, redraws }
    }

    fn candidate(&self, id: u64) -> Vec<f64> {
        let starts = self.starts.len() as u64;
        let Some(index) = id.checked_sub(starts) else { return self.starts[id as usize].clone() };
        let place: Vec<f64> = (0..self.cube.axes().len()).map(|axis| self.sequence.coordinate(index, axis)).collect();
        let row = self.cube.decode(&place);
        if self.cube.space().is_allowed(&row) { row } else { self.cube.draw(self.redraws.child_of_number(index)) }
    }
}

impl<S: Sequence> Strategy for Sequenced<S> {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let width = self.cube.space().parameters.len();
        let mut values = vec![0.0; n * width];
        let fill = |(block, values): (usize, &mut [f64])| {
            for (id, row) in (first + (block * SERIAL) as u64..).zip(values.chunks_exact_mut(width)) {
                row.copy_from_slice(&self.candidate(id));
            }
        };
        if n <= SERIAL {
            fill((0, &mut values));
        } else {
            values.par_chunks_mut(SERIAL * width).enumerate().for_each(fill);
        }
        Ask::Proposals(Points::from_values(width, values))
    }

    fn tell(&mut self, _: &[Outcome]) {}

    fn size(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Measures of evenness, and what every sequence promises.

    use super::*;
    use crate::data::metrics::Direction;
    use crate::space::SpaceBuilder;
    use crate::strategies::{StrategyEntry, StrategyOptions};

    pub(crate) fn options(seed: u64, candidates: u64) -> StrategyOptions {
        StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, candidates)
    }

    /// Squared centred L2 discrepancy: Hickernell 1998, "A generalized discrepancy and quadrature error bound", eq. (5.1c).
    pub(crate) fn discrepancy(points: &[Vec<f64>]) -> f64 {
        let (n, axes) = (points.len() as f64, points[0].len());
        let own = |x: &f64| 1.0 + 0.5 * (x - 0.5).abs() - 0.5 * (x - 0.5) * (x - 0.5);
        let single: f64 = points.iter().map(|point| point.iter().map(own).product::<f64>()).sum();
        let both = |(x, y): (&f64, &f64)| 1.0 + 0.5 * ((x - 0.5).abs() + (y - 0.5).abs() - (x - y).abs());
        let pairs = points.iter().flat_map(|a| points.iter().map(move |b| a.iter().zip(b).map(both).product::<f64>()));
        libm::pow(13.0 / 12.0, axes as f64) - 2.0 / n * single + pairs.sum::<f64>() / (n * n)
    }

    /// The median over seeds of a sequence's discrepancy.
    pub(crate) fn median_discrepancy<S: Sequence>(axes: usize, points: u64, of: impl Fn(Key) -> S) -> f64 {
        let mut figures: Vec<f64> = (0..51)
            .map(|seed| {
                let sequence = of(Key::from_seed(seed));
                let point = |index| (0..axes).map(|axis| sequence.coordinate(index, axis)).collect();
                discrepancy(&(0..points).map(point).collect::<Vec<Vec<f64>>>())
            })
            .collect();
        figures.sort_by(f64::total_cmp);
        figures[25]
    }

    /// Whether each of `points` equal parts of an axis holds one of so many points.
    pub(crate) fn fills_every_part(sequence: &impl Sequence, axis: usize, points: u64, first: u64) -> bool {
        let part = |index| (sequence.coordinate(first + index, axis) * points as f64) as usize;
        let mut seen = vec![false; points as usize];
        (0..points).for_each(|index| seen[part(index)] = true);
        seen.iter().all(|seen| *seen)
    }

    fn rows(entry: &dyn StrategyEntry, space: &Arc<Space>, seed: u64, first: u64, n: usize) -> Vec<Vec<f64>> {
        let Ask::Proposals(points) = entry.open(space.clone(), &options(seed, 1000)).ask(first, n) else {
            panic!("proposals without end")
        };
        points.rows().map(<[f64]>::to_vec).collect()
    }

    fn bits(rows: &[Vec<f64>]) -> Vec<u64> {
        rows.iter().flatten().map(|value| value.to_bits()).collect()
    }

    /// What every sequence promises of the spaces that it is opened on.
    pub(crate) fn keeps_the_promises_of_a_sequence(entry: &dyn StrategyEntry) {
        let space = SpaceBuilder::new()
            .categorical("kind", &["plain", "wide"], "plain")
            .log("rate", 1e-4, 1.0, 0.1)
            .int("width", 1, 4, 2)
            .when("width", "kind", &["wide"])
            .boolean("bias", true);
        let space = Arc::new(space.build());
        let all = rows(entry, &space, 5, 0, 900);
        assert_eq!(bits(&all[..1]), bits(&space.starts()));
        // Any batch, in any order, from one thread or several.
        for (first, n) in [(0, 1), (1, 7), (16, 300), (600, 300)] {
            assert_eq!(bits(&all[first..first + n]), bits(&rows(entry, &space, 5, first as u64, n)), "{first}, {n}");
        }
        assert_ne!(bits(&all), bits(&rows(entry, &space, 6, 0, 900)));
        // Conditions hold, and every combination of choices has its share of 1/2 or 1/8, but for 1 in 50.
        assert!(all.iter().all(|row| (row[0] == 1.0) != row[2].is_nan()));
        assert!(all.iter().all(|row| (1e-4..=1.0).contains(&row[1])));
        let share = |holds: &dyn Fn(&[f64]) -> bool| all.iter().filter(|row| holds(row)).count() as f64 / 900.0;
        assert!((share(&|row| row[0] == 0.0) - 0.5).abs() < 0.02);
        assert!((share(&|row| row[2] == 3.0) - 0.125).abs() < 0.02);
        // One value, one axis, and more axes than any table has.
        let one = Arc::new(SpaceBuilder::new().float("x", 0.0, 1.0, 0.5).held().build());
        assert_eq!(bits(&rows(entry, &one, 1, 0, 3)), [0.5f64.to_bits(); 3]);
        let many =
            (0..500).fold(SpaceBuilder::new(), |builder, axis| builder.float(&format!("x{axis}"), 0.0, 1.0, 0.5));
        let many = rows(entry, &Arc::new(many.build()), 1, 1, 64);
        for axis in 0..500 {
            let mean = many.iter().map(|row| row[axis]).sum::<f64>() / 64.0;
            // A uniform mean has a standard deviation of 0.036.
            assert!((mean - 0.5).abs() < 0.16, "{axis}: {mean}");
        }
        assert!(many.iter().flatten().all(|value| (0.0..1.0).contains(value)));
        assert_ne!(many[0][DIMENSIONS..DIMENSIONS + 100], many[1][DIMENSIONS..DIMENSIONS + 100]);
    }
}
