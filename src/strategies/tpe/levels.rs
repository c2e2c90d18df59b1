//! The best outcomes where a scheduler gave them different budgets: scores are compared with scores of the same budget alone.
//!
//! BOHB (Falkner, Klein & Hutter 2018, arXiv:1807.01774) goes by the largest budget that enough candidates came to, which are few
//! for long. Here those who would go on from the largest budget are the first, then those who would from the next one, and so on,
//! until there are enough.

use super::ranking::{Ranking, weighted};
use std::collections::BTreeMap;

/// Of those that came to a budget, one in so many is good there: who goes on with eta = 3.
const GOING_ON: usize = 3;

/// An outcome, everything to be minimised.
pub(super) struct Told {
    pub(super) number: u32,
    pub(super) values: Vec<f64>,
    /// See [`crate::strategies::Outcome::violation`].
    pub(super) violation: f64,
    /// See [`crate::strategies::Outcome::rungs`].
    pub(super) rungs: Option<Vec<(u64, f64)>>,
}

/// Those that came to a budget.
#[derive(Debug)]
struct Level {
    best: Ranking,
    count: usize,
}

/// Outcomes by their budgets. Without a scheduler there is one, [`u64::MAX`].
#[derive(Debug, Default)]
pub(super) struct Levels {
    objectives: usize,
    levels: BTreeMap<u64, Level>,
}

impl Levels {
    /// Of outcomes with so many values.
    pub(super) fn new(objectives: usize) -> Levels {
        Levels { objectives, levels: BTreeMap::new() }
    }

    /// Learns an outcome. What failed, wherever it stood, or is beyond a limit of the scheduler's study has no value and is
    /// nowhere among the best.
    pub(super) fn tell(&mut self, told: &Told) {
        if told.values.first().is_none_or(|value| value.is_nan()) {
            return;
        }
        match &told.rungs {
            None => self.put(u64::MAX, told, &told.values),
            Some(rungs) => rungs.iter().for_each(|(budget, value)| self.put(*budget, told, &[*value])),
        }
    }

    fn put(&mut self, budget: u64, told: &Told, values: &[f64]) {
        let objectives = self.objectives;
        let level = self.levels.entry(budget).or_insert_with(|| Level { best: Ranking::new(objectives), count: 0 });
        level.best.tell(told.number, values, told.violation);
        level.count += 1;
    }

    /// The best `count`, best first.
    pub(super) fn best(&self, count: usize) -> Vec<u32> {
        let mut levels = self.levels.values().rev();
        match (levels.next(), self.are_several()) {
            (Some(only), false) => only.best.ordered(count),
            _ => self.ordered(count),
        }
    }

    /// Whether outcomes have different budgets.
    pub(super) fn are_several(&self) -> bool {
        self.levels.len() > 1
    }

    /// The best `count`, by number, with their weights: see [`Ranking::weighted`].
    pub(super) fn weighted(&self, count: usize) -> Vec<(u32, f64)> {
        let mut levels = self.levels.values().rev();
        match (levels.next(), self.are_several()) {
            (Some(only), false) => only.best.weighted(count),
            _ => weighted(&self.ordered(count)),
        }
    }

    /// The best `count`, best first.
    fn ordered(&self, count: usize) -> Vec<u32> {
        let mut best: Vec<u32> = Vec::with_capacity(count);
        for level in self.levels.values().rev() {
            let room = level.count.div_ceil(GOING_ON).min(count - best.len());
            if room == 0 {
                break;
            }
            // Who came further is known already.
            let here = level.best.ordered(best.len() + room);
            let more: Vec<u32> = here.into_iter().filter(|number| !best.contains(number)).take(room).collect();
            best.extend(more);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outcomes: &[&[(u64, f64)]]) -> Levels {
        let mut levels = Levels::new(1);
        for (number, rungs) in (0..).zip(outcomes) {
            let values = vec![rungs.last().map_or(f64::NAN, |(_, value)| *value)];
            levels.tell(&Told { number, values, violation: 0.0, rungs: Some(rungs.to_vec()) });
        }
        levels
    }

    #[test]
    fn who_came_further_comes_first_whatever_the_score() {
        // Scores of a small budget look better: they are of another scale.
        let levels =
            told(&[&[(1, 0.1)], &[(1, 0.2), (3, 5.0)], &[(1, 0.3), (3, 4.0), (9, 9.0)], &[(1, 0.4)], &[(1, 0.5)]]);
        assert_eq!(
            [1, 2, 3, 4].map(|count| levels.ordered(count)),
            [vec![2], vec![2, 1], vec![2, 1, 0], vec![2, 1, 0, 3]]
        );
    }

    #[test]
    fn of_a_budget_no_more_are_good_than_would_go_on() {
        // Nine came to the end without a rung to select them: six of them are no better than those that were ended early.
        let whole: Vec<Vec<(u64, f64)>> = (0..9).map(|number| vec![(9, f64::from(number))]).collect();
        let early: Vec<Vec<(u64, f64)>> = (0..9).map(|number| vec![(1, f64::from(number))]).collect();
        let all: Vec<&[(u64, f64)]> = whole.iter().chain(&early).map(Vec::as_slice).collect();
        assert_eq!(told(&all).ordered(5), [0, 1, 2, 9, 10]);
    }

    #[test]
    fn who_failed_is_not_among_the_best_of_any_budget() {
        let levels = told(&[&[], &[(1, f64::NAN)], &[(1, 2.0), (3, f64::NAN)], &[(1, 3.0)], &[(1, 4.0)]]);
        assert_eq!(levels.best(4), [3, 4], "nor of one that it had passed before");
        let weights = levels.weighted(4);
        assert!((weights[0].1 + weights[1].1 - 2.0).abs() < 1e-12 && weights[0].1 > weights[1].1, "{weights:?}");
    }
}
