//! Ends what is worse than the best so far by Wilcoxon's signed-rank test on the same folds, each candidate for itself.
//!
//! Decisions are those of Optuna's WilcoxonPruner, but that it never ends a candidate whose mean so far is better than the mean
//! of the best over all folds, and here the best is the one with the least mean on the folds so far. So few as five folds
//! leave little to save: the test cannot be surer than 1 in 2^folds.

use super::race::{self, Field, Race, Test, differences};
use super::{Scheduler, SchedulerEntry, SchedulerOptions, Unit};
use crate::base::rank_tests::signed_rank;
use crate::base::registry::Named;

/// How likely a candidate that is no worse is found to be in one comparison, where nothing else is said: Optuna's.
const LEVEL: f64 = 0.1;
/// Folds that are enough for every level: on so many p can be as small as 5e-20.
const MOST_FOLDS: u64 = 64;

/// The registry entry.
pub struct WilcoxonStopping;

impl Named for WilcoxonStopping {
    fn name(&self) -> &'static str {
        "wilcoxon"
    }
    fn summary(&self) -> &'static str {
        "fold by fold: who is worse than the best so far by Wilcoxon's test trains on no further fold (`level`)"
    }
}

impl SchedulerEntry for WilcoxonStopping {
    fn unit(&self) -> Unit {
        Unit::Fold
    }

    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        race::rungs(options, first(level(options)))
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Race::new(self.rungs(options), SignedRank { level: level(options) }))
    }
}

fn level(options: &SchedulerOptions) -> f64 {
    options.rule.level.unwrap_or(LEVEL)
}

/// The least number of folds on which the test can be so sure.
fn first(level: f64) -> u64 {
    (1..MOST_FOLDS).find(|folds| 0.5f64.powi(*folds as i32) < level).unwrap_or(MOST_FOLDS)
}

struct SignedRank {
    level: f64,
}

impl Test for SignedRank {
    fn worse(&self, field: &Field<'_>) -> Vec<bool> {
        let is_worse = |one: &[f64]| signed_rank(&differences(one, field.rows[field.best])) < self.level;
        field.rows.iter().enumerate().map(|(place, one)| place != field.best && is_worse(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleOptions;
    use super::super::testing::{course_of_folds, options};
    use super::*;

    /// After how many folds each candidate ended, 0 where it did not; they come one by one.
    fn ended(values: &[Vec<f64>], level: f64) -> Vec<u64> {
        let rule = RuleOptions { level: Some(level), ..RuleOptions::default() };
        let of = SchedulerOptions { rule, ..options(values[0].len() as u64) };
        let value = |candidate: u64, fold: u64| values[candidate as usize][fold as usize];
        let mut ends = vec![0; values.len()];
        for round in course_of_folds(&WilcoxonStopping, &of, values.len() as u64, 1, value) {
            round.ended.iter().for_each(|(candidate, had)| ends[*candidate as usize] = *had);
        }
        ends
    }

    #[test]
    fn candidates_end_where_optuna_ends_them() {
        let values: Vec<Vec<f64>> = include_str!("../../tests/fixtures/schedulers/folds.csv")
            .lines()
            .map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect())
            .collect();
        let lines = include_str!("../../tests/fixtures/schedulers/wilcoxon.csv").lines().skip(1);
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        let mut spared = 0;
        for level in ["0.05", "0.1", "0.2"] {
            let of_level = rows.iter().filter(|row| row[0] == level);
            let expected: Vec<u64> = of_level.map(|row| row[2].parse().unwrap()).collect();
            let early = expected.iter().filter(|end| **end > 0).count();
            assert!(early > 10 && early + 5 < values.len(), "{level}: {early} of {}", values.len());
            let found = ended(&values, level.parse().unwrap());
            // At 0.2 it spares some for their mean, until later or for good.
            let is_spared = |(ours, optuna): &(&u64, &u64)| **ours > 0 && (**optuna == 0 || **optuna > **ours);
            let differ: Vec<(&u64, &u64)> =
                found.iter().zip(&expected).filter(|(ours, optuna)| ours != optuna).collect();
            assert!(differ.iter().all(is_spared), "{level}: {differ:?}");
            assert!(level == "0.2" || differ.is_empty(), "{level}: {differ:?}");
            spared += differ.len();
            let other = ended(&values, level.parse::<f64>().unwrap() / 4.0);
            assert_ne!(other, expected, "{level}: another level is another course");
        }
        assert_eq!(spared, 3);
    }

    #[test]
    fn it_begins_with_as_many_folds_as_can_be_sure() {
        assert_eq!([0.6, 0.5, 0.1, 0.05, 0.01].map(first), [1, 2, 4, 5, 7]);
        assert_eq!(WilcoxonStopping.rungs(&options(6)), [4, 5, 6]);
        assert_eq!(WilcoxonStopping.rungs(&SchedulerOptions { interval: Some(5), ..options(15) }), [4, 9, 14, 15]);
    }
}
