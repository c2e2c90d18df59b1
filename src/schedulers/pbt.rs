//! Population-based training (Jaderberg et al. 2017, arXiv:1711.09846): all members of a population train side by side; at
//! every rung the worst take over the training of some of the best, where those stand (exploit), and go on with other
//! hyperparameters near theirs (explore).
//!
//! Who takes over from how many is Ray Tune's rule: of n members `ceil(quantile n)`, half of them at most.

use super::population::Population;
use super::{Explorer, ExplorerOptions, Fork, Scheduler, SchedulerEntry, SchedulerOptions, population};
use crate::base::random::{Key, uniform_f64};
use crate::base::registry::Named;
use crate::space::{Codec, Domain, Space};
use std::sync::Arc;

/// Numbers are multiplied by one of these, as likely one as the other.
const FACTORS: [f64; 2] = [0.8, 1.2];
/// Draws of a point that meets the constraints; after these the parent's values stay.
const ATTEMPTS: u32 = 20;

/// The registry entry.
pub struct PopulationBasedTraining;

impl Named for PopulationBasedTraining {
    fn name(&self) -> &'static str {
        "pbt"
    }
    fn summary(&self) -> &'static str {
        "a population: the worst go on from where the best stand, with hyperparameters near theirs (`quantile`, `resample`)"
    }
}

impl SchedulerEntry for PopulationBasedTraining {
    fn explores(&self) -> bool {
        true
    }

    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        population::rungs(options)
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Population::new(options))
    }

    fn explorer(&self, options: ExplorerOptions) -> Option<Box<dyn Explorer>> {
        Some(Box::new(Perturb::new(options)))
    }
}

/// Explores by small steps from the parent, and now and then by a fresh draw.
pub(super) struct Perturb {
    space: Arc<Space>,
    codecs: Vec<Codec>,
    columns: Vec<usize>,
    /// How likely each hyperparameter is drawn afresh from its range.
    resample: f64,
    key: Key,
}

impl Perturb {
    pub(super) fn new(options: ExplorerOptions) -> Perturb {
        let ExplorerOptions { space, columns, resample, key } = options;
        Perturb { codecs: space.codecs(), space, columns, resample, key }
    }

    /// Of everything that is drawn of a candidate on a rung.
    pub(super) fn key_of(&self, candidate: u64, budget: u64) -> Key {
        self.key.child_of_number(candidate).child_of_number(budget)
    }

    pub(super) fn codec(&self, column: usize) -> &Codec {
        &self.codecs[column]
    }

    pub(super) fn is_allowed(&self, row: &[f64]) -> bool {
        self.space.is_allowed(row)
    }

    /// A value near another one, or a fresh one.
    fn vary(&self, column: usize, value: f64, key: Key) -> f64 {
        let codec = &self.codecs[column];
        let draw = |counter: u64| uniform_f64(key.words(counter));
        if draw(0) < self.resample {
            return codec.decode(draw(1));
        }
        let side = usize::from(draw(2) >= 0.5);
        match (&self.space.parameters[column].domain, codec.count()) {
            // Decoded again, a value is within its range, and one of its steps.
            (Domain::Float { low, high, .. }, _) => within(codec, value * FACTORS[side], *low, *high),
            (Domain::Int { low, high, .. }, _) => within(codec, value * FACTORS[side], *low as f64, *high as f64),
            // A neighbour, where choices have an order.
            (Domain::Ordinal(_) | Domain::Categorical(_) | Domain::Bool, Some(count)) => {
                let place = codec.index(value);
                codec.nth(if side == 0 { place.saturating_sub(1) } else { (place + 1).min(count - 1) }, count)
            }
            _ => value,
        }
    }
}

/// The value of a range that is nearest to a number.
fn within(codec: &Codec, value: f64, low: f64, high: f64) -> f64 {
    let value = value.clamp(low, high);
    match codec.count() {
        None => value,
        Some(count) => codec.nth(codec.index(value), count),
    }
}

impl Explorer for Perturb {
    fn explore(&mut self, fork: Fork, parent: &[f64]) -> Vec<f64> {
        let key = self.key_of(fork.candidate, fork.budget);
        for attempt in 0..ATTEMPTS {
            let key = key.child(attempt);
            let mut row = parent.to_vec();
            // What does not exist in the parent does not in its fork.
            for &column in self.columns.iter().filter(|column| !parent[**column].is_nan()) {
                row[column] = self.vary(column, parent[column], key.child_of_number(column as u64));
            }
            if self.is_allowed(&row) {
                return row;
            }
        }
        parent.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    fn explorer(resample: f64) -> Perturb {
        let space = SpaceBuilder::new()
            .log("rate", 1e-3, 1.0, 0.1)
            .float("dropout", 0.0, 0.5, 0.1)
            .int("units", 1, 100, 10)
            .ordinal("batch", &[16, 32, 64], 32)
            .build();
        let (space, key) = (Arc::new(space), Key::from_seed(3));
        Perturb::new(ExplorerOptions { space, columns: vec![0, 1, 2, 3], resample, key })
    }

    fn forks(explorer: &mut Perturb, parent: &[f64]) -> Vec<Vec<f64>> {
        let fork = |candidate| Fork { candidate, parent: 7, budget: 3 };
        (0..2000).map(|candidate| explorer.explore(fork(candidate), parent)).collect()
    }

    #[test]
    fn numbers_take_a_step_of_a_fifth_and_choices_one_to_a_neighbour() {
        for row in forks(&mut explorer(0.0), &[0.1, 0.2, 10.0, 1.0]) {
            let is_one_of = |value: f64, two: [f64; 2]| two.iter().any(|one| (value - one).abs() < 1e-12);
            assert!(is_one_of(row[0], [0.08, 0.12]) && is_one_of(row[1], [0.16, 0.24]), "{row:?}");
            assert!(is_one_of(row[2], [8.0, 12.0]) && is_one_of(row[3], [0.0, 2.0]), "{row:?}");
        }
        // At the ends of a range a step stays inside.
        let ends = forks(&mut explorer(0.0), &[1.0, 0.5, 100.0, 2.0]);
        assert!(ends.iter().all(|row| row[0] <= 1.0 && row[1] <= 0.5 && row[2] <= 100.0 && row[3] <= 2.0));
        assert!(ends.iter().any(|row| row[0] == 1.0) && ends.iter().any(|row| row[0] == 0.8));
    }

    #[test]
    fn some_are_drawn_afresh_from_the_whole_range_on_its_scale() {
        let rows = forks(&mut explorer(0.25), &[0.1, 0.2, 10.0, 1.0]);
        let fresh: Vec<f64> = rows.iter().map(|row| row[0]).filter(|rate| (rate / 0.1 - 1.0).abs() > 0.21).collect();
        // A draw lies within a fifth of 0.1 with a chance of log10(1.2 / 0.8) / 3 = 0.06; the standard error is 0.01.
        let share = fresh.len() as f64 / rows.len() as f64;
        assert!((share - 0.25 * 0.94).abs() < 0.03, "{share}");
        let low = fresh.iter().filter(|rate| **rate < 0.0316).count() as f64 / fresh.len() as f64;
        assert!((low - 0.53).abs() < 0.07, "half of the logarithmic range: {low}");
    }

    #[test]
    fn a_fork_depends_on_who_forks_and_where_alone() {
        let parent = [0.1, 0.2, 10.0, 1.0];
        let at = |candidate, budget| explorer(0.25).explore(Fork { candidate, parent: 7, budget }, &parent);
        assert_eq!(at(5, 3), forks(&mut explorer(0.25), &parent)[5]);
        assert_ne!(at(5, 3), at(5, 6));
    }
}
